ink_test(base_suggest_test SOURCES base_suggest_test.cc DEPS ink_base)
