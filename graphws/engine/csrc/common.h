/* What all kernels share. */
#pragma once
#include <math.h>
#include <stddef.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#define THREAD omp_get_thread_num()
#else
#define THREAD 0
#endif

typedef ptrdiff_t count;
#define INLINE static inline __attribute__((always_inline))
#define EACH for (count k = 0; k < c; k++)
/* A call with a number of channels that the compiler knows, where it is one of the usual ones. */
#define WITH(c, call)                          \
    do {                                       \
        if (c == 32) { enum { C = 32 }; call; } \
        else if (c == 64) { enum { C = 64 }; call; } \
        else if (c == 128) { enum { C = 128 }; call; } \
        else { const count C = c; call; } \
    } while (0)

/* A NaN stays one, as in torch. */
INLINE float relu(float x) { return x < 0 ? 0 : x; }

INLINE float dot(const float *restrict a, const float *restrict b, count c) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    EACH sum += a[k] * b[k];
    return sum;
}

/* Mean and 1 / sqrt(variance + eps) of one row of channels. */
INLINE void moments(const float *restrict x, float eps, float *mean, float *scale, count c) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    EACH sum += x[k];
    const float middle = sum / c;
#pragma omp simd reduction(+ : squares)
    EACH squares += (x[k] - middle) * (x[k] - middle);
    *mean = middle;
    *scale = 1 / sqrtf(squares / c + eps);
}
