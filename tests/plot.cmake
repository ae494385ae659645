ink_test(plot_test SOURCES plot_test.cc DEPS ink_plot)
