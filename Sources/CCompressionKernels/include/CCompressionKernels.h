// Loops over the bytes of tensors at the speed of memory. No state, no policy.

#ifndef BECALM_COMPRESSION_KERNELS_H
#define BECALM_COMPRESSION_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/// What is done to an element, a little-endian number of 8, 16, 32 or 64 bits, before its bytes go to the planes.
enum {
    /// Nothing.
    PLANE_PLAIN = 0,
    /// Rotated left by one bit: the sign goes to the end, the exponent to the top.
    PLANE_ROTATED = 1,
    /// The base's element subtracted, modulo the width; then the sign folded into the lowest bit (0, -1, 1, -2 become
    /// 0, 1, 2, 3).
    PLANE_DIFFERENCE = 2,
    /// Exclusive or with the base's element.
    PLANE_XOR = 3,
};

/// Takes `count` elements of `width` bytes (1, 2, 4 or 8) apart: byte `k` of each, counted from the least significant,
/// goes to `planes[k]`, `count` bytes long. `base` has as many elements; it is read by `PLANE_DIFFERENCE` and
/// `PLANE_XOR` only. Nothing overlaps; nothing needs to be aligned.
void plane_split(
    const uint8_t *elements, const uint8_t *base, size_t count, int width, int transform, uint8_t *const *planes);

/// The opposite of `plane_split`.
void plane_merge(
    const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform, uint8_t *elements);

/// How many bytes from the start on equal the first; `count` when all do.
size_t run_length(const uint8_t *bytes, size_t count);

/// How many bytes differ from the one before.
size_t change_count(const uint8_t *bytes, size_t count);

/// Writes `bytes` as runs, each its byte and its length as unsigned LEB128. Answers the bytes written, or 0 when more
/// than `room` would be needed (or `count` is 0).
size_t run_encode(const uint8_t *bytes, size_t count, uint8_t *output, size_t room);

/// Reads runs of `count` bytes in all. Answers 1; or 0 when `input` is anything but such runs, of at least one byte
/// each, and no byte more. Never writes past `count`.
int run_decode(const uint8_t *input, size_t length, uint8_t *bytes, size_t count);

/// Counts how often each byte occurs.
void byte_histogram(const uint8_t *bytes, size_t count, uint32_t *counts);

/// Counts how often each byte occurs at each position modulo 8: `counts[256 * (i % 8) + bytes[i]]`.
void residue_histogram(const uint8_t *bytes, size_t count, uint32_t *counts);

#endif
