ink_test(infer_test SOURCES infer_test.cc DEPS ink_infer ink_format ink_ops)
