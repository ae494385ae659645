ink_test(data_test
  SOURCES data_eval_file_test.cc data_shard_test.cc data_loader_test.cc data_prepare_test.cc data_registry_test.cc
  DEPS ink_data)
if(CURL_FOUND)
  ink_test(data_download_test SOURCES data_download_test.cc data_hub_test.cc DEPS ink_data ink_format ink_ops)
endif()
# The file that a build without libcurl takes stands in for the room's own.
ink_test(data_no_curl_test SOURCES data_no_curl_test.cc ../ink/data/download_none.cc DEPS ink_data)
