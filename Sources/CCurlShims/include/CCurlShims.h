#ifndef C_CURL_SHIMS_H
#define C_CURL_SHIMS_H

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

/* Typed functions for libcurl's variadic calls, which Swift cannot make. */

typedef size_t (*CCurlShims_data_callback)(char *_Nonnull buffer, size_t size, size_t count, void *_Nullable context);
typedef int (*CCurlShims_seek_callback)(void *_Nullable context, curl_off_t offset, int origin);

CURLcode CCurlShims_easy_setopt_long(CURL *_Nonnull handle, CURLoption option, long value);
CURLcode CCurlShims_easy_setopt_off(CURL *_Nonnull handle, CURLoption option, int64_t value);
CURLcode CCurlShims_easy_setopt_string(CURL *_Nonnull handle, CURLoption option, const char *_Nullable value);
CURLcode CCurlShims_easy_setopt_pointer(CURL *_Nonnull handle, CURLoption option, void *_Nullable value);
CURLcode CCurlShims_easy_setopt_slist(CURL *_Nonnull handle, CURLoption option, struct curl_slist *_Nullable value);
CURLcode CCurlShims_easy_setopt_data(CURL *_Nonnull handle, CURLoption option, CCurlShims_data_callback _Nullable value);
CURLcode CCurlShims_easy_setopt_seek(CURL *_Nonnull handle, CCurlShims_seek_callback _Nullable value);
/* libcurl copies the bytes. */
CURLcode CCurlShims_easy_setopt_blob(CURL *_Nonnull handle, CURLoption option, const void *_Nonnull bytes, size_t count);
CURLcode CCurlShims_easy_getinfo_long(CURL *_Nonnull handle, CURLINFO info, long *_Nonnull value);
CURLcode CCurlShims_easy_getinfo_off(CURL *_Nonnull handle, CURLINFO info, int64_t *_Nonnull value);
/* The socket of a connection that was made with CURLOPT_CONNECT_ONLY. */
CURLcode CCurlShims_easy_getinfo_socket(CURL *_Nonnull handle, int *_Nonnull value);
CURLcode CCurlShims_easy_getinfo_pointer(CURL *_Nonnull handle, CURLINFO info, void *_Nullable *_Nonnull value);
CURLMcode CCurlShims_multi_setopt_long(CURLM *_Nonnull handle, CURLMoption option, long value);
CURLcode CCurlShims_message_result(const CURLMsg *_Nonnull message);

/* The file of certificates that libcurl was built to use; NULL if none. */
const char *_Nullable CCurlShims_default_authorities(void);

/* Initialises OpenSSL, where libcurl brings it along, without its exit handler (threads may still be in TLS when the
   process ends), then libcurl. Thread-safe and repeatable as far as curl_global_init is. */
CURLcode CCurlShims_global_init(void);

#endif
