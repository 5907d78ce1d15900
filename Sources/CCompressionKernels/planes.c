#include "CCompressionKernels.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "elements are little-endian; so must be the processor"
#endif

// Sixteen bytes as the compiler's own vectors: SSE2 on every x86-64, NEON on every arm64. Wider vectors gain nothing
// worth a dispatch: the loops wait for memory.
typedef uint8_t bytes16 __attribute__((vector_size(16)));

#define INLINE static inline __attribute__((always_inline))

INLINE bytes16 load(const uint8_t *at) {
    bytes16 value;
    memcpy(&value, at, sizeof value);
    return value;
}

INLINE void store(uint8_t *at, bytes16 value) { memcpy(at, &value, sizeof value); }

INLINE bytes16 even(bytes16 a, bytes16 b) {
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

INLINE bytes16 odd(bytes16 a, bytes16 b) {
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

INLINE bytes16 low(bytes16 a, bytes16 b) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

INLINE bytes16 high(bytes16 a, bytes16 b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// The transforms and their inverses on vectors of elements of one width, and on one element in the low bits of a word.
#define TRANSFORMS(bits)                                                                                               \
    typedef uint##bits##_t unsigned##bits __attribute__((vector_size(16)));                                            \
    typedef int##bits##_t signed##bits __attribute__((vector_size(16)));                                               \
    INLINE bytes16 forward##bits(bytes16 element, bytes16 base, int transform) {                                       \
        unsigned##bits value = (unsigned##bits)element;                                                                \
        if (transform == PLANE_ROTATED) value = (value << 1) | (value >> (bits - 1));                                  \
        if (transform == PLANE_XOR) value ^= (unsigned##bits)base;                                                     \
        if (transform == PLANE_DIFFERENCE) {                                                                           \
            value -= (unsigned##bits)base;                                                                             \
            value = (value + value) ^ (unsigned##bits)((signed##bits)value >> (bits - 1));                             \
        }                                                                                                              \
        return (bytes16)value;                                                                                         \
    }                                                                                                                  \
    INLINE bytes16 backward##bits(bytes16 element, bytes16 base, int transform) {                                      \
        unsigned##bits value = (unsigned##bits)element;                                                                \
        if (transform == PLANE_ROTATED) value = (value >> 1) | (value << (bits - 1));                                  \
        if (transform == PLANE_XOR) value ^= (unsigned##bits)base;                                                     \
        if (transform == PLANE_DIFFERENCE) {                                                                           \
            unsigned##bits sign = value & (unsigned##bits)((unsigned##bits){0} + 1);                                   \
            value = ((value >> 1) ^ ((unsigned##bits){0} - sign)) + (unsigned##bits)base;                              \
        }                                                                                                              \
        return (bytes16)value;                                                                                         \
    }                                                                                                                  \
    INLINE uint64_t forward_one##bits(uint64_t element, uint64_t base, int transform) {                                \
        uint##bits##_t value = (uint##bits##_t)element;                                                                \
        if (transform == PLANE_ROTATED) value = (uint##bits##_t)((value << 1) | (value >> (bits - 1)));                \
        if (transform == PLANE_XOR) value ^= (uint##bits##_t)base;                                                     \
        if (transform == PLANE_DIFFERENCE) {                                                                           \
            value -= (uint##bits##_t)base;                                                                             \
            uint##bits##_t sign = (uint##bits##_t)((int##bits##_t)value >> (bits - 1));                                \
            value = (uint##bits##_t)((uint##bits##_t)(value << 1) ^ sign);                                             \
        }                                                                                                              \
        return value;                                                                                                  \
    }                                                                                                                  \
    INLINE uint64_t backward_one##bits(uint64_t element, uint64_t base, int transform) {                               \
        uint##bits##_t value = (uint##bits##_t)element;                                                                \
        if (transform == PLANE_ROTATED) value = (uint##bits##_t)((value >> 1) | (value << (bits - 1)));                \
        if (transform == PLANE_XOR) value ^= (uint##bits##_t)base;                                                     \
        if (transform == PLANE_DIFFERENCE) {                                                                           \
            value = (uint##bits##_t)((uint##bits##_t)(value >> 1) ^ (uint##bits##_t)(0 - (value & 1)));                \
            value = (uint##bits##_t)(value + (uint##bits##_t)base);                                                    \
        }                                                                                                              \
        return value;                                                                                                  \
    }

TRANSFORMS(8)
TRANSFORMS(16)
TRANSFORMS(32)
TRANSFORMS(64)

INLINE bytes16 forward(bytes16 element, bytes16 base, int width, int transform) {
    switch (width) {
    case 1: return forward8(element, base, transform);
    case 2: return forward16(element, base, transform);
    case 4: return forward32(element, base, transform);
    default: return forward64(element, base, transform);
    }
}

INLINE bytes16 backward(bytes16 element, bytes16 base, int width, int transform) {
    switch (width) {
    case 1: return backward8(element, base, transform);
    case 2: return backward16(element, base, transform);
    case 4: return backward32(element, base, transform);
    default: return backward64(element, base, transform);
    }
}

INLINE uint64_t forward_one(uint64_t element, uint64_t base, int width, int transform) {
    switch (width) {
    case 1: return forward_one8(element, base, transform);
    case 2: return forward_one16(element, base, transform);
    case 4: return forward_one32(element, base, transform);
    default: return forward_one64(element, base, transform);
    }
}

INLINE uint64_t backward_one(uint64_t element, uint64_t base, int width, int transform) {
    switch (width) {
    case 1: return backward_one8(element, base, transform);
    case 2: return backward_one16(element, base, transform);
    case 4: return backward_one32(element, base, transform);
    default: return backward_one64(element, base, transform);
    }
}

/// Sixteen elements in `width` vectors become sixteen bytes of each plane. Each step parts bytes at even places from
/// those at odd ones, that is by the lowest bit of the plane's number, then by the next.
INLINE void separate(const bytes16 *v, bytes16 *plane, int width) {
    if (width == 1) {
        plane[0] = v[0];
    } else if (width == 2) {
        plane[0] = even(v[0], v[1]);
        plane[1] = odd(v[0], v[1]);
    } else if (width == 4) {
        bytes16 e0 = even(v[0], v[1]), e1 = even(v[2], v[3]);
        bytes16 o0 = odd(v[0], v[1]), o1 = odd(v[2], v[3]);
        plane[0] = even(e0, e1);
        plane[1] = even(o0, o1);
        plane[2] = odd(e0, e1);
        plane[3] = odd(o0, o1);
    } else {
        for (int half = 0; half < 2; half++) {
            bytes16 h0 = half ? odd(v[0], v[1]) : even(v[0], v[1]);
            bytes16 h1 = half ? odd(v[2], v[3]) : even(v[2], v[3]);
            bytes16 h2 = half ? odd(v[4], v[5]) : even(v[4], v[5]);
            bytes16 h3 = half ? odd(v[6], v[7]) : even(v[6], v[7]);
            bytes16 e0 = even(h0, h1), e1 = even(h2, h3);
            bytes16 o0 = odd(h0, h1), o1 = odd(h2, h3);
            plane[half] = even(e0, e1);
            plane[half + 4] = odd(e0, e1);
            plane[half + 2] = even(o0, o1);
            plane[half + 6] = odd(o0, o1);
        }
    }
}

/// The opposite of `separate`.
INLINE void join(const bytes16 *plane, bytes16 *v, int width) {
    if (width == 1) {
        v[0] = plane[0];
    } else if (width == 2) {
        v[0] = low(plane[0], plane[1]);
        v[1] = high(plane[0], plane[1]);
    } else if (width == 4) {
        bytes16 e0 = low(plane[0], plane[2]), e1 = high(plane[0], plane[2]);
        bytes16 o0 = low(plane[1], plane[3]), o1 = high(plane[1], plane[3]);
        v[0] = low(e0, o0);
        v[1] = high(e0, o0);
        v[2] = low(e1, o1);
        v[3] = high(e1, o1);
    } else {
        bytes16 h[2][4];
        for (int half = 0; half < 2; half++) {
            bytes16 e0 = low(plane[half], plane[half + 4]), e1 = high(plane[half], plane[half + 4]);
            bytes16 o0 = low(plane[half + 2], plane[half + 6]), o1 = high(plane[half + 2], plane[half + 6]);
            h[half][0] = low(e0, o0);
            h[half][1] = high(e0, o0);
            h[half][2] = low(e1, o1);
            h[half][3] = high(e1, o1);
        }
        for (int pair = 0; pair < 4; pair++) {
            v[2 * pair] = low(h[0][pair], h[1][pair]);
            v[2 * pair + 1] = high(h[0][pair], h[1][pair]);
        }
    }
}

INLINE void split(
    const uint8_t *elements, const uint8_t *base, size_t count, uint8_t *const *planes, int width, int transform) {
    uint8_t *place[8];
    for (int k = 0; k < width; k++) place[k] = planes[k];
    const int usesBase = transform == PLANE_DIFFERENCE || transform == PLANE_XOR;
    size_t done = 0;
    for (; count - done >= 16; done += 16) {
        bytes16 v[8], plane[8];
        for (int k = 0; k < width; k++) {
            size_t at = done * (size_t)width + 16 * (size_t)k;
            bytes16 other = usesBase ? load(base + at) : (bytes16){0};
            v[k] = forward(load(elements + at), other, width, transform);
        }
        separate(v, plane, width);
        for (int k = 0; k < width; k++) store(place[k] + done, plane[k]);
    }
    for (; done < count; done++) {
        uint64_t element = 0, other = 0;
        memcpy(&element, elements + done * (size_t)width, (size_t)width);
        if (usesBase) memcpy(&other, base + done * (size_t)width, (size_t)width);
        element = forward_one(element, other, width, transform);
        for (int k = 0; k < width; k++) place[k][done] = (uint8_t)(element >> (8 * k));
    }
}

INLINE void merge(
    const uint8_t *const *planes, const uint8_t *base, size_t count, uint8_t *elements, int width, int transform) {
    const uint8_t *place[8];
    for (int k = 0; k < width; k++) place[k] = planes[k];
    const int usesBase = transform == PLANE_DIFFERENCE || transform == PLANE_XOR;
    size_t done = 0;
    for (; count - done >= 16; done += 16) {
        bytes16 v[8], plane[8];
        for (int k = 0; k < width; k++) plane[k] = load(place[k] + done);
        join(plane, v, width);
        for (int k = 0; k < width; k++) {
            size_t at = done * (size_t)width + 16 * (size_t)k;
            bytes16 other = usesBase ? load(base + at) : (bytes16){0};
            store(elements + at, backward(v[k], other, width, transform));
        }
    }
    for (; done < count; done++) {
        uint64_t element = 0, other = 0;
        for (int k = 0; k < width; k++) element |= (uint64_t)place[k][done] << (8 * k);
        if (usesBase) memcpy(&other, base + done * (size_t)width, (size_t)width);
        element = backward_one(element, other, width, transform);
        memcpy(elements + done * (size_t)width, &element, (size_t)width);
    }
}

// One loop for each width and transform, with both known to the compiler.
#define EACH_TRANSFORM(call, width)                                                                                    \
    switch (transform) {                                                                                               \
    case PLANE_PLAIN: call(width, PLANE_PLAIN); break;                                                                 \
    case PLANE_ROTATED: call(width, PLANE_ROTATED); break;                                                             \
    case PLANE_DIFFERENCE: call(width, PLANE_DIFFERENCE); break;                                                       \
    default: call(width, PLANE_XOR); break;                                                                            \
    }
#define EACH_LOOP(call)                                                                                                \
    switch (width) {                                                                                                   \
    case 1: EACH_TRANSFORM(call, 1) break;                                                                             \
    case 2: EACH_TRANSFORM(call, 2) break;                                                                             \
    case 4: EACH_TRANSFORM(call, 4) break;                                                                             \
    default: EACH_TRANSFORM(call, 8) break;                                                                            \
    }

void plane_split(
    const uint8_t *elements, const uint8_t *base, size_t count, int width, int transform, uint8_t *const *planes) {
#define CALL(width, transform) split(elements, base, count, planes, width, transform)
    EACH_LOOP(CALL)
#undef CALL
}

void plane_merge(
    const uint8_t *const *planes, const uint8_t *base, size_t count, int width, int transform, uint8_t *elements) {
#define CALL(width, transform) merge(planes, base, count, elements, width, transform)
    EACH_LOOP(CALL)
#undef CALL
}
