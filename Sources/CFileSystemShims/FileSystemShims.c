#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include "CFileSystemShims.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/// Repeats `call` while a signal interrupts it; `result` is its value or the negated errno.
#define RETRY(result, call)                    \
    do {                                       \
        (result) = (call);                     \
        if ((result) < 0) (result) = -errno;   \
    } while ((result) == -EINTR)

// Opening

/// What a descriptor is open on, or an entry of it, as a path (proc(5), /proc/pid/fd). Its size:
/// "/proc/self/fd/", ten digits, a slash, a name of 255 bytes and the NUL.
enum { proc_path_size = 14 + 10 + 1 + 255 + 1 };

static int proc_path(char path[proc_path_size], int descriptor, const char *name) {
    int length = name ? snprintf(path, proc_path_size, "/proc/self/fd/%d/%s", descriptor, name)
                      : snprintf(path, proc_path_size, "/proc/self/fd/%d", descriptor);
    return length < 0 || length >= proc_path_size ? -ENAMETOOLONG : 0;
}

/// O_NOATIME is for the owner and the privileged only (open(2)); others open without it.
static int open_quietly(int directory, const char *name, int flags) {
    int result;
    RETRY(result, openat(directory, name, flags | O_NOATIME | O_CLOEXEC));
    if (result == -EPERM) RETRY(result, openat(directory, name, flags | O_CLOEXEC));
    return result;
}

int fs_open_directory(const char *path) {
    return open_quietly(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
}

int fs_open_directory_at(int directory, const char *name) {
    return open_quietly(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

int fs_open_reading_at(int directory, const char *name) {
    int result = open_quietly(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (result != -EAGAIN) return result;
    // Somebody holds a write lease (fcntl(2), F_SETLEASE; file servers do): opening must wait until it is given up. Only
    // what is pinned and known as a regular file may be waited for.
    int entry = fs_open_entry_at(directory, name);
    if (entry < 0) return entry;
    struct stat found;
    char path[proc_path_size];
    RETRY(result, fstat(entry, &found));
    if (result == 0) result = S_ISREG(found.st_mode) ? proc_path(path, entry, NULL) : -ENXIO;
    if (result == 0) result = open_quietly(AT_FDCWD, path, O_RDONLY | O_NOCTTY);
    fs_close(entry);
    return result;
}

int fs_open_updating_at(int directory, const char *name) {
    int result;
    RETRY(result, openat(directory, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    return result;
}

int fs_create_at(int directory, const char *name) {
    int result;
    RETRY(result, openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    return result;
}

int fs_open_direct(int descriptor) {
    char path[proc_path_size];
    int result = proc_path(path, descriptor, NULL);
    if (result == 0) RETRY(result, open(path, O_WRONLY | O_DIRECT | O_CLOEXEC));
    return result;
}

int fs_open_entry_at(int directory, const char *name) {
    int result;
    RETRY(result, openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    return result;
}

int fs_open_device(const char *path, int writing, int exclusive) {
    int result;
    int flags = (writing ? O_RDWR : O_RDONLY) | (exclusive ? O_EXCL : 0) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    RETRY(result, open(path, flags));
    return result;
}

int fs_close(int descriptor) {
    // Never repeated: Linux frees the descriptor even when close is interrupted (close(2)).
    if (close(descriptor) == 0 || errno == EINTR) return 0;
    return -errno;
}

// Looking

static void copy_status(struct fs_status *to, const struct stat *from) {
    to->mode = from->st_mode;
    to->user_id = from->st_uid;
    to->group_id = from->st_gid;
    to->inode = from->st_ino;
    to->device = from->st_dev;
    to->device_number = from->st_rdev;
    to->link_count = from->st_nlink;
    to->size = from->st_size < 0 ? 0 : (uint64_t)from->st_size;
    to->blocks = from->st_blocks < 0 ? 0 : (uint64_t)from->st_blocks;
    to->modified_seconds = from->st_mtim.tv_sec;
    to->modified_nanoseconds = from->st_mtim.tv_nsec;
    to->changed_seconds = from->st_ctim.tv_sec;
    to->changed_nanoseconds = from->st_ctim.tv_nsec;
}

int fs_status_at(int directory, const char *name, struct fs_status *status) {
    struct stat found;
    int result;
    RETRY(result, fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW));
    if (result == 0) copy_status(status, &found);
    return result;
}

int fs_status_of(int descriptor, struct fs_status *status) {
    struct stat found;
    int result;
    RETRY(result, fstat(descriptor, &found));
    if (result == 0) copy_status(status, &found);
    return result;
}

int fs_status_followed(const char *path, struct fs_status *status) {
    struct stat found;
    int result;
    RETRY(result, stat(path, &found));
    if (result == 0) copy_status(status, &found);
    return result;
}

int64_t fs_device_size(int descriptor) {
    uint64_t size = 0;
    int result;
    RETRY(result, ioctl(descriptor, BLKGETSIZE64, &size));
    if (result < 0) return result;
    return size > INT64_MAX ? -EFBIG : (int64_t)size;
}

int64_t fs_list(int directory, void *buffer, size_t size) {
    int64_t result;
    RETRY(result, syscall(SYS_getdents64, directory, buffer, size));
    return result;
}

int fs_rewind(int directory) {
    return lseek(directory, 0, SEEK_SET) < 0 ? -errno : 0;
}

int64_t fs_read_link_at(int directory, const char *name, void *buffer, size_t size) {
    int64_t result;
    RETRY(result, readlinkat(directory, name, buffer, size));
    return result;
}

// Content

int64_t fs_read(int descriptor, void *buffer, size_t count, int64_t offset) {
    size_t done = 0;
    while (done < count) {
        int64_t result;
        RETRY(result, pread(descriptor, (char *)buffer + done, count - done, offset + (int64_t)done));
        if (result < 0) return result;
        if (result == 0) break;
        done += (size_t)result;
    }
    return (int64_t)done;
}

int fs_write(int descriptor, const void *buffer, size_t count, int64_t offset) {
    size_t done = 0;
    while (done < count) {
        int64_t result;
        RETRY(result, pwrite(descriptor, (const char *)buffer + done, count - done, offset + (int64_t)done));
        if (result < 0) return (int)result;
        if (result == 0) return -EIO;
        done += (size_t)result;
    }
    return 0;
}

int64_t fs_next_data(int descriptor, int64_t offset) {
    int64_t result;
    RETRY(result, lseek(descriptor, offset, SEEK_DATA));
    return result;
}

int64_t fs_next_hole(int descriptor, int64_t offset) {
    int64_t result;
    RETRY(result, lseek(descriptor, offset, SEEK_HOLE));
    return result;
}

int fs_advise_sequential(int descriptor) {
    return -posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
}

int fs_advise_random(int descriptor) {
    return -posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
}

int fs_advise_unneeded(int descriptor, int64_t offset, int64_t count) {
    return -posix_fadvise(descriptor, offset, count, POSIX_FADV_DONTNEED);
}

int fs_set_size(int descriptor, int64_t size) {
    int result;
    RETRY(result, ftruncate(descriptor, size));
    return result;
}

int fs_allocate(int descriptor, int64_t offset, int64_t count) {
    int result;
    RETRY(result, fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, count));
    return result;
}

int fs_punch_hole(int descriptor, int64_t offset, int64_t count) {
    int result;
    RETRY(result, fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count));
    return result;
}

int fs_synchronize(int descriptor) {
    int result;
    RETRY(result, fsync(descriptor));
    return result;
}

// Entries

int fs_make_directory(const char *path, uint32_t mode) {
    int result;
    RETRY(result, mkdir(path, mode));
    return result;
}

int fs_make_directory_at(int directory, const char *name, uint32_t mode) {
    int result;
    RETRY(result, mkdirat(directory, name, mode));
    return result;
}

int fs_make_node_at(int directory, const char *name, uint32_t mode, uint64_t device_number) {
    int result;
    RETRY(result, mknodat(directory, name, mode, device_number));
    return result;
}

int fs_make_symbolic_link_at(int directory, const char *name, const char *target) {
    int result;
    RETRY(result, symlinkat(target, directory, name));
    return result;
}

int fs_make_hard_link_at(int from_directory, const char *from_name, int directory, const char *name) {
    int result;
    RETRY(result, linkat(from_directory, from_name, directory, name, 0));
    return result;
}

int fs_remove_at(int directory, const char *name) {
    int result;
    RETRY(result, unlinkat(directory, name, 0));
    return result;
}

int fs_remove_directory_at(int directory, const char *name) {
    int result;
    RETRY(result, unlinkat(directory, name, AT_REMOVEDIR));
    return result;
}

int fs_rename_at(int from_directory, const char *from_name, int directory, const char *name) {
    int result;
    RETRY(result, renameat(from_directory, from_name, directory, name));
    return result;
}

// Extended attributes
//
// There is no *xattrat before Linux 6.13, so an entry is named by its directory's link in /proc.

int64_t fs_attribute_list(int descriptor, const char *name, void *buffer, size_t size) {
    int64_t result;
    char path[proc_path_size];
    if (!name) {
        RETRY(result, flistxattr(descriptor, buffer, size));
        if (result != -EBADF) return result;
    }
    int problem = proc_path(path, descriptor, name);
    if (problem) return problem;
    if (name) RETRY(result, llistxattr(path, buffer, size));
    else RETRY(result, listxattr(path, buffer, size));
    return result;
}

int64_t fs_attribute_get(int descriptor, const char *name, const char *attribute, void *buffer, size_t size) {
    int64_t result;
    char path[proc_path_size];
    if (!name) {
        RETRY(result, fgetxattr(descriptor, attribute, buffer, size));
        if (result != -EBADF) return result;
    }
    int problem = proc_path(path, descriptor, name);
    if (problem) return problem;
    if (name) RETRY(result, lgetxattr(path, attribute, buffer, size));
    else RETRY(result, getxattr(path, attribute, buffer, size));
    return result;
}

int fs_attribute_set(int descriptor, const char *attribute, const void *value, size_t size) {
    int result;
    char path[proc_path_size];
    RETRY(result, fsetxattr(descriptor, attribute, value, size, 0));
    if (result != -EBADF) return result;
    int problem = proc_path(path, descriptor, NULL);
    if (problem) return problem;
    RETRY(result, setxattr(path, attribute, value, size, 0));
    return result;
}

int fs_attribute_remove(int descriptor, const char *attribute) {
    int result;
    char path[proc_path_size];
    RETRY(result, fremovexattr(descriptor, attribute));
    if (result != -EBADF) return result;
    int problem = proc_path(path, descriptor, NULL);
    if (problem) return problem;
    RETRY(result, removexattr(path, attribute));
    return result;
}

int fs_proc_is_usable(void) {
    int result;
    RETRY(result, access("/proc/self/fd", X_OK));
    return result;
}

// Owner, mode, time

int fs_change_owner(int descriptor, uint32_t user_id, uint32_t group_id) {
    int result;
    RETRY(result, fchownat(descriptor, "", user_id, group_id, AT_EMPTY_PATH));
    return result;
}

int fs_change_mode(int descriptor, uint32_t mode) {
    int result;
    char path[proc_path_size];
    RETRY(result, fchmod(descriptor, mode));
    if (result != -EBADF) return result;
    int problem = proc_path(path, descriptor, NULL);
    if (problem) return problem;
    RETRY(result, chmod(path, mode));
    return result;
}

int fs_change_modified(int descriptor, int64_t seconds, int64_t nanoseconds) {
    struct timespec times[2];
    char path[proc_path_size];
    int result;
    memset(times, 0, sizeof times);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_sec = seconds;
    times[1].tv_nsec = nanoseconds;
    // AT_EMPTY_PATH works from Linux 5.8 (utimensat(2)); before, a plain descriptor or its link in /proc does.
    RETRY(result, utimensat(descriptor, "", times, AT_EMPTY_PATH));
    if (result != -EINVAL && result != -ENOENT) return result;
    RETRY(result, futimens(descriptor, times));
    if (result != -EBADF) return result;
    int problem = proc_path(path, descriptor, NULL);
    if (problem) return problem;
    RETRY(result, utimensat(AT_FDCWD, path, times, 0));
    return result;
}

int fs_synchronize_file_system(int descriptor) { return syncfs(descriptor) == 0 ? 0 : -errno; }
