#include "CCurlShims.h"

CURLcode CCurlShims_easy_setopt_long(CURL *handle, CURLoption option, long value) {
  return curl_easy_setopt(handle, option, value);
}

CURLcode CCurlShims_easy_setopt_off(CURL *handle, CURLoption option, int64_t value) {
  return curl_easy_setopt(handle, option, (curl_off_t)value);
}

CURLcode CCurlShims_easy_setopt_string(CURL *handle, CURLoption option, const char *value) {
  return curl_easy_setopt(handle, option, value);
}

CURLcode CCurlShims_easy_setopt_pointer(CURL *handle, CURLoption option, void *value) {
  return curl_easy_setopt(handle, option, value);
}

CURLcode CCurlShims_easy_setopt_slist(CURL *handle, CURLoption option, struct curl_slist *value) {
  return curl_easy_setopt(handle, option, value);
}

CURLcode CCurlShims_easy_setopt_data(CURL *handle, CURLoption option, CCurlShims_data_callback value) {
  return curl_easy_setopt(handle, option, value);
}

CURLcode CCurlShims_easy_setopt_seek(CURL *handle, CCurlShims_seek_callback value) {
  return curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, value);
}

CURLcode CCurlShims_easy_setopt_blob(CURL *handle, CURLoption option, const void *bytes, size_t count) {
  struct curl_blob blob = {(void *)bytes, count, CURL_BLOB_COPY};
  return curl_easy_setopt(handle, option, &blob);
}

CURLcode CCurlShims_easy_getinfo_long(CURL *handle, CURLINFO info, long *value) {
  return curl_easy_getinfo(handle, info, value);
}

CURLcode CCurlShims_easy_getinfo_off(CURL *handle, CURLINFO info, int64_t *value) {
  curl_off_t result = 0;
  CURLcode code = curl_easy_getinfo(handle, info, &result);
  *value = (int64_t)result;
  return code;
}

CURLcode CCurlShims_easy_getinfo_socket(CURL *handle, int *value) {
  curl_socket_t result = CURL_SOCKET_BAD;
  CURLcode code = curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &result);
  *value = (int)result;
  return code;
}

CURLcode CCurlShims_easy_getinfo_pointer(CURL *handle, CURLINFO info, void **value) {
  return curl_easy_getinfo(handle, info, value);
}

CURLMcode CCurlShims_multi_setopt_long(CURLM *handle, CURLMoption option, long value) {
  return curl_multi_setopt(handle, option, value);
}

CURLcode CCurlShims_message_result(const CURLMsg *message) { return message->data.result; }

const char *CCurlShims_default_authorities(void) { return curl_version_info(CURLVERSION_NOW)->cainfo; }

/* Weak: present whenever libcurl was linked against OpenSSL, absent with another TLS library. */
extern int OPENSSL_init_crypto(uint64_t options, const void *settings) __attribute__((weak));

/* OPENSSL_INIT_NO_ATEXIT of openssl/crypto.h; part of the library's binary interface. */
static const uint64_t no_atexit = 0x00080000;

CURLcode CCurlShims_global_init(void) {
  if (OPENSSL_init_crypto) {
    (void)OPENSSL_init_crypto(no_atexit, NULL);
  }
  return curl_global_init(CURL_GLOBAL_DEFAULT);
}
