// Typed C functions for processes that Swift's C library overlay lacks: handles (pidfd_open(2), pidfd_send_signal(2)), and what
// stands behind _GNU_SOURCE. No state, no policy.
//
// Every function answers 0 or a descriptor on success and the negated errno on failure.

#ifndef BECALM_PROCESS_SHIMS_H
#define BECALM_PROCESS_SHIMS_H

#include <spawn.h>
#include <stdint.h>

/// Opens a handle of a process, closed on exec. It is readable (poll) once the process has ended. ENOSYS before Linux 5.3.
int ps_open(int32_t pid);
/// Sends a signal to the process of a handle: never to another one that has got its number. 0 as the signal only asks.
int ps_signal(int handle, int signal);
/// Makes a pipe that no child inherits: its reading end, then the one to write to.
int ps_pipe(int ends[2]);
/// Has a process begin in the directory at `path`.
int ps_spawn_in(posix_spawn_file_actions_t *actions, const char *path);
/// Has a process begin without the descriptors from `first` on. ENOSYS where the C library (glibc before 2.34, musl) cannot.
int ps_spawn_close_from(posix_spawn_file_actions_t *actions, int first);

#endif
