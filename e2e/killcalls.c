// Loaded into a program by LD_PRELOAD, counts the calls by which it changes a file system, in all its threads together,
// and kills it at a chosen one. (strace counts for each thread apart, so it cannot reach every call of a threaded
// program.)
//
//   KILLCALLS_LOG   a file that gets one line for each call counted
//   KILLCALLS_AT    the call, from 1, at which the program is killed; absent or 0: none
//   KILLCALLS_WHEN  before: the call is not made; after: it is made and the program does not learn of it
//   KILLCALLS_WRITES  set: also count write, ftruncate and fsync on regular files; "before" then writes half of a write
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// Held from the count of a call to its end, so that no other thread's call slips in before the kill.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int calls, at, after, writes, journal = -1;

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("KILLCALLS_AT");
    at = text ? atoi(text) : 0;
    text = getenv("KILLCALLS_WHEN");
    after = text && strcmp(text, "after") == 0;
    writes = getenv("KILLCALLS_WRITES") != NULL;
    text = getenv("KILLCALLS_LOG");
    if (text) journal = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    unsetenv("LD_PRELOAD");
}

static void die(void) {
    syscall(SYS_kill, (long)getpid(), (long)SIGKILL);
    for (;;) pause();
}

// Takes the turn and counts a call; returns whether it is the chosen one.
static int count(const char *name, const char *path) {
    int saved = errno;
    pthread_mutex_lock(&turn);
    int mine = ++calls;
    if (journal >= 0) {
        char line[512];
        int length = snprintf(line, sizeof line, "%s %s\n", name, path ? path : "");
        if (length >= (int)sizeof line) length = sizeof line - 1, line[length - 1] = '\n';
        syscall(SYS_write, journal, line, (size_t)length);
    }
    errno = saved;
    return mine == at;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define COUNTED(name, path, arguments)                       \
    do {                                                     \
        int chosen = count(#name, path);                     \
        if (chosen && !after) die();                         \
        __typeof__(REAL(name) arguments) result = REAL(name) arguments; \
        if (chosen) die();                                   \
        pthread_mutex_unlock(&turn);                         \
        return result;                                       \
    } while (0)

int link(const char *a, const char *b) { COUNTED(link, b, (a, b)); }
int linkat(int x, const char *a, int y, const char *b, int flags) { COUNTED(linkat, b, (x, a, y, b, flags)); }
int symlink(const char *a, const char *b) { COUNTED(symlink, b, (a, b)); }
int symlinkat(const char *a, int x, const char *b) { COUNTED(symlinkat, b, (a, x, b)); }
int rename(const char *a, const char *b) { COUNTED(rename, b, (a, b)); }
int renameat(int x, const char *a, int y, const char *b) { COUNTED(renameat, b, (x, a, y, b)); }
int renameat2(int x, const char *a, int y, const char *b, unsigned f) { COUNTED(renameat2, b, (x, a, y, b, f)); }
int unlink(const char *a) { COUNTED(unlink, a, (a)); }
int unlinkat(int x, const char *a, int flags) { COUNTED(unlinkat, a, (x, a, flags)); }
int rmdir(const char *a) { COUNTED(rmdir, a, (a)); }
int mkdir(const char *a, mode_t mode) { COUNTED(mkdir, a, (a, mode)); }
int mkdirat(int x, const char *a, mode_t mode) { COUNTED(mkdirat, a, (x, a, mode)); }

static int creates(int flags) { return (flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE; }

#define OPENING(name, path, flags, ...)              \
    mode_t mode = 0;                                 \
    if (creates(flags)) {                            \
        va_list list;                                \
        va_start(list, flags);                       \
        mode = va_arg(list, mode_t);                 \
        va_end(list);                                \
        COUNTED(name, path, (__VA_ARGS__, mode));    \
    }                                                \
    return REAL(name)(__VA_ARGS__)

int open(const char *a, int flags, ...) { OPENING(open, a, flags, a, flags); }
int open64(const char *a, int flags, ...) { OPENING(open64, a, flags, a, flags); }
int openat(int x, const char *a, int flags, ...) { OPENING(openat, a, flags, x, a, flags); }
int openat64(int x, const char *a, int flags, ...) { OPENING(openat64, a, flags, x, a, flags); }

static int regular(int descriptor) {
    struct stat status;
    int saved = errno;
    int yes = writes && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    errno = saved;
    return yes;
}

#define WRITING(name, half, arguments)               \
    if (regular(x)) {                                \
        int chosen = count(#name, NULL);             \
        if (chosen && !after) {                      \
            half;                                    \
            die();                                   \
        }                                            \
        ssize_t result = REAL(name) arguments;       \
        if (chosen) die();                           \
        pthread_mutex_unlock(&turn);                 \
        return result;                               \
    }                                                \
    return REAL(name) arguments

ssize_t write(int x, const void *a, size_t n) { WRITING(write, REAL(write)(x, a, n / 2), (x, a, n)); }
ssize_t pwrite(int x, const void *a, size_t n, off_t o) { WRITING(pwrite, REAL(pwrite)(x, a, n / 2, o), (x, a, n, o)); }
ssize_t pwrite64(int x, const void *a, size_t n, off64_t o) {
    WRITING(pwrite64, REAL(pwrite64)(x, a, n / 2, o), (x, a, n, o));
}
ssize_t writev(int x, const struct iovec *a, int n) { WRITING(writev, REAL(writev)(x, a, n / 2), (x, a, n)); }
int ftruncate(int x, off_t n) { WRITING(ftruncate, (void)0, (x, n)); }
int ftruncate64(int x, off64_t n) { WRITING(ftruncate64, (void)0, (x, n)); }
int fsync(int x) { WRITING(fsync, (void)0, (x)); }
int fdatasync(int x) { WRITING(fdatasync, (void)0, (x)); }
