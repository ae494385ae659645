ink_test(eval_test SOURCES eval_test.cc DEPS ink_eval ink_infer ink_format ink_ops)
