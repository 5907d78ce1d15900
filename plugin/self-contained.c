/* Linked into static executables, in place of the parts of the C library, of Swift's runtime and of OpenSSL that look
   for other files at run time. Such an executable is copied into images that we do not know and must behave the same in
   all of them, an empty one without /proc included.

   The functions that replace others have their names and types, and belong to: glibc 2.36, Swift 6.3, OpenSSL 3.0.
   `build` looks at what was linked and runs it, so that one of these that has moved on fails the build and not the user. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No loader.

   glibc keeps a loader of shared libraries even in a static executable: for name services that /etc/nsswitch.conf names,
   for character sets, for dlopen. What it loads is built for the C library of the image, not for the one inside the
   executable, and two of them in one process crash. Without it a name service or a module that is not built in is
   absent: glibc then goes on with its built-in `files` and `dns`.

   The names with `__libc_` are the whole of glibc's dl-libc.c: as all of them are defined here, the linker takes nothing
   from there. dladdr is here because glibc's would bring the loader back. */

void *__libc_dlopen_mode(const char *name, int mode);
void *__libc_dlsym(void *handle, const char *name);
void *__libc_dlsym_private(void *handle, const char *name);
void *__libc_dlvsym(void *handle, const char *name, const char *version);
int __libc_dlclose(void *handle);
void *dlopen(const char *name, int mode);
void *dlmopen(long space, const char *name, int mode);
void *dlsym(void *handle, const char *name);
void *dlvsym(void *handle, const char *name, const char *version);
int dlclose(void *handle);
int dladdr(const void *address, void *information);
char *dlerror(void);

void *__libc_dlopen_mode(const char *name, int mode) { return NULL; }
void *__libc_dlsym(void *handle, const char *name) { return NULL; }
void *__libc_dlsym_private(void *handle, const char *name) { return NULL; }
void *__libc_dlvsym(void *handle, const char *name, const char *version) { return NULL; }
int __libc_dlclose(void *handle) { return 0; }

void *dlopen(const char *name, int mode) { return NULL; }
void *dlmopen(long space, const char *name, int mode) { return NULL; }
void *dlsym(void *handle, const char *name) { return NULL; }
void *dlvsym(void *handle, const char *name, const char *version) { return NULL; }
int dlclose(void *handle) { return -1; }
int dladdr(const void *address, void *information) { return 0; }
char *dlerror(void) {
  static char text[] = "this executable is static and loads no libraries";
  return text;
}

/* No names in stacks of calls: glibc's would ask its loader for them. Foundation's `Thread.callStackSymbols` is empty then. */

char **backtrace_symbols(void *const *addresses, int count);
char **backtrace_symbols(void *const *addresses, int count) { return NULL; }

/* No backtracer.

   Swift's runtime asks at every start where its program `swift-backtrace` lies, by way of /proc/self/exe, and aborts
   where there is no /proc. It is told that there is none: a crash still says its reason, without a stack. These are all
   the functions of the runtime's Paths.cpp, or the linker would take them from there. */

char *swift_copyAuxiliaryExecutablePath(const char *directory, const char *name);
const char *swift_getRootPath(void);
const char *swift_getRuntimeLibraryPath(void);

char *swift_copyAuxiliaryExecutablePath(const char *directory, const char *name) { return NULL; }
const char *swift_getRootPath(void) { return ""; }
const char *swift_getRuntimeLibraryPath(void) { return ""; }

/* No /proc for the arguments.

   Swift reads them from /proc/self/cmdline and sees none without it. glibc hands them to constructors. */

extern void _swift_stdlib_overrideUnsafeArgvArgc(char **words, int count);

__attribute__((constructor)) static void keep_arguments(int count, char **words) {
  _swift_stdlib_overrideUnsafeArgvArgc(words, count);
}

/* No /proc for libdispatch.

   Once a second its monitor looks in /proc/TID/stat whether its worker threads run, to add more when all are blocked, and
   traps where that file is missing. A worker whose file cannot be read is not made known to the monitor, so that without
   /proc the pool keeps its size: one thread for each processor and quality of service. The linker sends libdispatch's
   own calls here (`--wrap`). */

struct dispatch_queue_global_s;
extern void __real__dispatch_workq_worker_register(struct dispatch_queue_global_s *queue);
extern void __real__dispatch_workq_worker_unregister(struct dispatch_queue_global_s *queue);
void __wrap__dispatch_workq_worker_register(struct dispatch_queue_global_s *queue);
void __wrap__dispatch_workq_worker_unregister(struct dispatch_queue_global_s *queue);

/* Whether the monitor knows this thread. */
static __thread int is_monitored;

void __wrap__dispatch_workq_worker_register(struct dispatch_queue_global_s *queue) {
  char path[32];
  (void)snprintf(path, sizeof path, "/proc/%ld/stat", syscall(SYS_gettid));
  is_monitored = access(path, R_OK) == 0;
  if (is_monitored) {
    __real__dispatch_workq_worker_register(queue);
  }
}

void __wrap__dispatch_workq_worker_unregister(struct dispatch_queue_global_s *queue) {
  if (is_monitored) {
    __real__dispatch_workq_worker_unregister(queue);
  }
}

/* No openssl.cnf.

   The one of the image is meant for the image's OpenSSL and may name modules (FIPS) that cannot be loaded here and
   without which every algorithm is refused. Who sets OPENSSL_CONF means this OpenSSL as well.

   Weak: absent from a product that does not use OpenSSL. */

extern int OPENSSL_init_crypto(uint64_t options, const void *settings) __attribute__((weak));

/* OPENSSL_INIT_NO_LOAD_CONFIG and OPENSSL_INIT_NO_ATEXIT of openssl/crypto.h. */
static const uint64_t no_configuration = 0x00000080, no_atexit = 0x00080000;

__attribute__((constructor)) static void initialize_cryptography(void) {
  const char *named = getenv("OPENSSL_CONF");
  if (OPENSSL_init_crypto && (named == NULL || *named == 0)) {
    (void)OPENSSL_init_crypto(no_configuration | no_atexit, NULL);
  }
}
