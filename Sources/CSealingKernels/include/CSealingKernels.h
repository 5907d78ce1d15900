// Loops that the cryptographic library does not have. No state, no policy.

#ifndef BECALM_SEALING_KERNELS_H
#define BECALM_SEALING_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/// Whether this processor has what `sha256_pair` uses. Anything but 0 means yes.
int sha256_pair_is_available(void);

/// Runs the SHA-256 compression function (FIPS 180-4, section 6.2.2) over `blocks` blocks of 64 bytes at `left` into
/// the eight words of `left_state`, and over as many at `right` into `right_state`, both at once.
///
/// One stream waits for its own last round most of the time (the instructions' latency is twice their throughput and
/// more); a second one fills the gaps. The inputs may be the same memory, the states may not. Only where
/// `sha256_pair_is_available`.
void sha256_pair(
    uint32_t *left_state, const uint8_t *left, uint32_t *right_state, const uint8_t *right, size_t blocks);

#endif
