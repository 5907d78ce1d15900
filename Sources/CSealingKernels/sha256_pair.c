#include "CSealingKernels.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

int sha256_pair_is_available(void) {
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (!(c & bit_SSSE3) || !(c & bit_SSE4_1)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    return (b & bit_SHA) != 0;
}

#define KERNEL __attribute__((target("sha,sse4.1,ssse3")))

// FIPS 180-4, section 4.2.2.
static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

// The state in the order that the instructions want: words a b e f in one register, c d g h in the other.
typedef struct {
    __m128i abef;
    __m128i cdgh;
} lane_state;

KERNEL static inline lane_state load_state(const uint32_t *words) {
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)words), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(words + 4)), 0x1b);
    lane_state state = {_mm_alignr_epi8(low, high, 8), _mm_blend_epi16(high, low, 0xf0)};
    return state;
}

KERNEL static inline void store_state(uint32_t *words, lane_state state) {
    __m128i low = _mm_shuffle_epi32(state.abef, 0x1b);
    __m128i high = _mm_shuffle_epi32(state.cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)words, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(words + 4), _mm_alignr_epi8(high, low, 8));
}

/// Four words of the message, which is big-endian.
KERNEL static inline __m128i load_words(const uint8_t *bytes) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)bytes), order);
}

/// Four words of the schedule from the sixteen before them, of which `a` are the oldest.
KERNEL static inline __m128i schedule(__m128i a, __m128i b, __m128i c, __m128i d) {
    return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4)), d);
}

/// Four rounds of both lanes, whose words are `l` and `r`.
#define ROUNDS(group, l, r)                                                                                            \
    do {                                                                                                               \
        __m128i constant = _mm_load_si128((const __m128i *)&constants[4 * (group)]);                                   \
        __m128i left_words = _mm_add_epi32(l, constant);                                                               \
        __m128i right_words = _mm_add_epi32(r, constant);                                                              \
        x.cdgh = _mm_sha256rnds2_epu32(x.cdgh, x.abef, left_words);                                                    \
        y.cdgh = _mm_sha256rnds2_epu32(y.cdgh, y.abef, right_words);                                                   \
        left_words = _mm_shuffle_epi32(left_words, 0x0e);                                                              \
        right_words = _mm_shuffle_epi32(right_words, 0x0e);                                                            \
        x.abef = _mm_sha256rnds2_epu32(x.abef, x.cdgh, left_words);                                                    \
        y.abef = _mm_sha256rnds2_epu32(y.abef, y.cdgh, right_words);                                                   \
    } while (0)

/// Sixteen rounds, and the words of the sixteen that follow.
#define SIXTEEN_ROUNDS(group)                                                                                          \
    do {                                                                                                               \
        ROUNDS(group, l0, r0);                                                                                         \
        l0 = schedule(l0, l1, l2, l3);                                                                                 \
        r0 = schedule(r0, r1, r2, r3);                                                                                 \
        ROUNDS((group) + 1, l1, r1);                                                                                   \
        l1 = schedule(l1, l2, l3, l0);                                                                                 \
        r1 = schedule(r1, r2, r3, r0);                                                                                 \
        ROUNDS((group) + 2, l2, r2);                                                                                   \
        l2 = schedule(l2, l3, l0, l1);                                                                                 \
        r2 = schedule(r2, r3, r0, r1);                                                                                 \
        ROUNDS((group) + 3, l3, r3);                                                                                   \
        l3 = schedule(l3, l0, l1, l2);                                                                                 \
        r3 = schedule(r3, r0, r1, r2);                                                                                 \
    } while (0)

KERNEL void sha256_pair(
    uint32_t *left_state, const uint8_t *left, uint32_t *right_state, const uint8_t *right, size_t blocks) {
    lane_state x = load_state(left_state);
    lane_state y = load_state(right_state);
    for (; blocks > 0; blocks--, left += 64, right += 64) {
        lane_state x_before = x;
        lane_state y_before = y;
        __m128i l0 = load_words(left), l1 = load_words(left + 16);
        __m128i l2 = load_words(left + 32), l3 = load_words(left + 48);
        __m128i r0 = load_words(right), r1 = load_words(right + 16);
        __m128i r2 = load_words(right + 32), r3 = load_words(right + 48);
        SIXTEEN_ROUNDS(0);
        SIXTEEN_ROUNDS(4);
        SIXTEEN_ROUNDS(8);
        ROUNDS(12, l0, r0);
        ROUNDS(13, l1, r1);
        ROUNDS(14, l2, r2);
        ROUNDS(15, l3, r3);
        x.abef = _mm_add_epi32(x.abef, x_before.abef);
        x.cdgh = _mm_add_epi32(x.cdgh, x_before.cdgh);
        y.abef = _mm_add_epi32(y.abef, y_before.abef);
        y.cdgh = _mm_add_epi32(y.cdgh, y_before.cdgh);
    }
    store_state(left_state, x);
    store_state(right_state, y);
}

#else

int sha256_pair_is_available(void) { return 0; }

void sha256_pair(
    uint32_t *left_state, const uint8_t *left, uint32_t *right_state, const uint8_t *right, size_t blocks) {
    (void)left_state, (void)left, (void)right_state, (void)right, (void)blocks;
    __builtin_trap();
}

#endif
