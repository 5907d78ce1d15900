// Typed C functions for the Linux file system calls that Swift's C library overlay lacks (variadic ones, extended
// attributes, fallocate, SEEK_DATA, getdents64, flags behind _GNU_SOURCE). No state, no policy.
//
// Every function answers 0 or a count on success and the negated errno on failure, and repeats a call that a signal
// interrupted. `name` is one path component, ended by a NUL, which is never followed when it is a symbolic link.

#ifndef BECALM_FILE_SYSTEM_SHIMS_H
#define BECALM_FILE_SYSTEM_SHIMS_H

#include <stddef.h>
#include <stdint.h>

/// What stat(2) tells, with the same layout on every C library.
struct fs_status {
    uint32_t mode;
    uint32_t user_id;
    uint32_t group_id;
    uint64_t inode;
    uint64_t device;
    uint64_t device_number;
    uint64_t link_count;
    uint64_t size;
    /// Units of 512 bytes.
    uint64_t blocks;
    int64_t modified_seconds;
    int64_t modified_nanoseconds;
    int64_t changed_seconds;
    int64_t changed_nanoseconds;
};

/// Opens the directory at `path`, following symbolic links.
int fs_open_directory(const char *path);
/// Opens a directory inside `directory`; a symbolic link answers ENOTDIR or ELOOP.
int fs_open_directory_at(int directory, const char *name);
/// Opens a file for reading without waiting for a FIFO's writer, and without touching its access time where allowed.
/// Waits while another process holds a lease on a regular file; ENXIO for a socket.
int fs_open_reading_at(int directory, const char *name);
/// Opens an existing file for reading and writing.
int fs_open_updating_at(int directory, const char *name);
/// Creates a file that must not exist, mode 0600, and opens it for reading and writing.
int fs_create_at(int directory, const char *name);
/// Opens once more, for writing past the page cache (O_DIRECT), what `descriptor` is open on; EINVAL where the file
/// system knows no such thing. /proc must be mounted.
int fs_open_direct(int descriptor);
/// Opens whatever the entry is, itself, only to name it in other calls (O_PATH).
int fs_open_entry_at(int directory, const char *name);
/// Opens the block device, or the regular file, at `path`, following symbolic links. With `exclusive`, a device that is
/// mounted, or that something else holds so, answers EBUSY (O_EXCL without O_CREAT, open(2)).
int fs_open_device(const char *path, int writing, int exclusive);
int fs_close(int descriptor);

int fs_status_at(int directory, const char *name, struct fs_status *status);
int fs_status_of(int descriptor, struct fs_status *status);
/// Of what `path` leads to: symbolic links are followed.
int fs_status_followed(const char *path, struct fs_status *status);
/// Bytes of the block device that `descriptor` is open on (BLKGETSIZE64).
int64_t fs_device_size(int descriptor);
/// Fills `buffer` with `struct linux_dirent64` records from the descriptor's position; 0 at the end.
int64_t fs_list(int directory, void *buffer, size_t size);
/// Puts the directory's position back to its start.
int fs_rewind(int directory);
int64_t fs_read_link_at(int directory, const char *name, void *buffer, size_t size);

/// Reads until `count` bytes are there or the file ends.
int64_t fs_read(int descriptor, void *buffer, size_t count, int64_t offset);
/// Writes all `count` bytes.
int fs_write(int descriptor, const void *buffer, size_t count, int64_t offset);
/// Offset of the next data at or after `offset`; ENXIO when there is none.
int64_t fs_next_data(int descriptor, int64_t offset);
/// Offset of the next hole at or after `offset`; the end of the file counts as one.
int64_t fs_next_hole(int descriptor, int64_t offset);
int fs_advise_sequential(int descriptor);
/// Reads no more than is asked for from now on.
int fs_advise_random(int descriptor);
int fs_advise_unneeded(int descriptor, int64_t offset, int64_t count);
int fs_set_size(int descriptor, int64_t size);
/// Reserves space without changing the file's size.
int fs_allocate(int descriptor, int64_t offset, int64_t count);
int fs_punch_hole(int descriptor, int64_t offset, int64_t count);
int fs_synchronize(int descriptor);
/// Waits until everything written to the file system that `descriptor` is on has reached the disk (syncfs).
int fs_synchronize_file_system(int descriptor);

int fs_make_directory(const char *path, uint32_t mode);
int fs_make_directory_at(int directory, const char *name, uint32_t mode);
int fs_make_node_at(int directory, const char *name, uint32_t mode, uint64_t device_number);
int fs_make_symbolic_link_at(int directory, const char *name, const char *target);
int fs_make_hard_link_at(int from_directory, const char *from_name, int directory, const char *name);
int fs_remove_at(int directory, const char *name);
int fs_remove_directory_at(int directory, const char *name);
int fs_rename_at(int from_directory, const char *from_name, int directory, const char *name);

/// Extended attributes of the entry `name`, or of `descriptor` itself (which may be O_PATH) when `name` is null.
/// With a name, and for O_PATH descriptors, /proc must be mounted.
int64_t fs_attribute_list(int descriptor, const char *name, void *buffer, size_t size);
int64_t fs_attribute_get(int descriptor, const char *name, const char *attribute, void *buffer, size_t size);
int fs_attribute_set(int descriptor, const char *attribute, const void *value, size_t size);
int fs_attribute_remove(int descriptor, const char *attribute);
/// 0 when /proc/self/fd can be used.
int fs_proc_is_usable(void);

/// Owner of what `descriptor` (which may be O_PATH) is open on; -1 as an id leaves it.
int fs_change_owner(int descriptor, uint32_t user_id, uint32_t group_id);
int fs_change_mode(int descriptor, uint32_t mode);
/// Sets the modification time and leaves the access time.
int fs_change_modified(int descriptor, int64_t seconds, int64_t nanoseconds);

#endif
