#include "CCompressionKernels.h"

#include <string.h>

size_t run_length(const uint8_t *bytes, size_t count) {
    if (count == 0) return 0;
    const uint8_t value = bytes[0];
    const uint64_t eight = 0x0101010101010101u * value;
    size_t length = 1;
    for (; count - length >= 32; length += 32) {
        uint64_t words[4];
        memcpy(words, bytes + length, sizeof words);
        if (((words[0] ^ eight) | (words[1] ^ eight) | (words[2] ^ eight) | (words[3] ^ eight)) != 0) break;
    }
    while (length < count && bytes[length] == value) length++;
    return length;
}

size_t change_count(const uint8_t *bytes, size_t count) {
    size_t changes = 0;
    for (size_t i = 1; i < count; i++) changes += bytes[i] != bytes[i - 1];
    return changes;
}

size_t run_encode(const uint8_t *bytes, size_t count, uint8_t *output, size_t room) {
    size_t written = 0;
    for (size_t done = 0; done < count;) {
        size_t length = run_length(bytes + done, count - done);
        // A length takes at most ten bytes.
        if (room - written < 11) {
            size_t size = 2;
            for (size_t rest = length >> 7; rest != 0; rest >>= 7) size++;
            if (room - written < size) return 0;
        }
        output[written++] = bytes[done];
        size_t rest = length;
        for (; rest >= 0x80; rest >>= 7) output[written++] = (uint8_t)(rest | 0x80);
        output[written++] = (uint8_t)rest;
        done += length;
    }
    return written;
}

int run_decode(const uint8_t *input, size_t length, uint8_t *bytes, size_t count) {
    size_t done = 0, position = 0;
    while (position < length) {
        const uint8_t value = input[position++];
        size_t run = 0;
        // Four groups of seven bits reach beyond any plane.
        for (unsigned shift = 0;; shift += 7) {
            if (shift > 21 || position == length) return 0;
            const uint8_t group = input[position++];
            run |= (size_t)(group & 0x7f) << shift;
            if (group < 0x80) break;
        }
        if (run == 0 || run > count - done) return 0;
        memset(bytes + done, value, run);
        done += run;
    }
    return done == count;
}

void byte_histogram(const uint8_t *bytes, size_t count, uint32_t *counts) {
    // Four tables, so that equal neighbours do not wait for each other.
    uint32_t tables[4][256];
    memset(tables, 0, sizeof tables);
    size_t i = 0;
    for (; count - i >= 4; i += 4)
        for (size_t k = 0; k < 4; k++) tables[k][bytes[i + k]]++;
    for (; i < count; i++) tables[0][bytes[i]]++;
    for (size_t value = 0; value < 256; value++)
        counts[value] = tables[0][value] + tables[1][value] + tables[2][value] + tables[3][value];
}

void residue_histogram(const uint8_t *bytes, size_t count, uint32_t *counts) {
    memset(counts, 0, 8 * 256 * sizeof *counts);
    size_t i = 0;
    for (; count - i >= 8; i += 8)
        for (size_t k = 0; k < 8; k++) counts[256 * k + bytes[i + k]]++;
    for (; i < count; i++) counts[256 * (i % 8) + bytes[i]]++;
}
