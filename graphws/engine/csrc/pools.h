/* Pools of float32 tensors [t, s, c] over their sources, `rows` [t, c], and over their targets, `columns` [s, c]. */
#pragma once
#include "common.h"
#include <stdint.h>
#ifdef __AVX__
#include <immintrin.h>
#endif

enum pool { NONE, SUM, MEAN, MAX };

/* A NaN stays one, as in torch. */
INLINE float larger(float a, float b) { return a > b || a != a ? a : b; }

INLINE void fill(float *restrict out, count size, float value) {
    for (count k = 0; k < size; k++) out[k] = value;
}

INLINE void scale(float *restrict out, count size, float factor) {
    for (count k = 0; k < size; k++) out[k] *= factor;
}

INLINE void start(float *rows, float *columns, enum pool pool, count t, count s, count c) {
    fill(rows, t * c, pool == MAX ? -INFINITY : 0);
    fill(columns, s * c, pool == MAX ? -INFINITY : 0);
}

INLINE void collect(const float *restrict v, float *restrict row, float *restrict column, enum pool pool, count c) {
    if (pool == MAX)
        EACH { row[k] = larger(v[k], row[k]); column[k] = larger(v[k], column[k]); }
    else if (pool != NONE)
        EACH { row[k] += v[k]; column[k] += v[k]; }
}

INLINE void finish(float *rows, float *columns, enum pool pool, count t, count s, count c) {
    if (pool != MEAN) return;
    scale(rows, t * c, 1.0f / s);
    scale(columns, s * c, 1.0f / t);
}

/* The gradients of pools over the number of values that share each: of all, or of those that are the maximum. */
INLINE void shares(const float *values, const float *rows, const float *columns, const float *of_rows,
                   const float *of_columns, float *row_share, float *column_share, enum pool pool, count t, count s,
                   count c) {
    fill(row_share, t * c, pool == MEAN ? s : pool == SUM);
    fill(column_share, s * c, pool == MEAN ? t : pool == SUM);
    if (pool == MAX)
        for (count i = 0; i < t; i++)
            for (count j = 0; j < s; j++) {
                const float *restrict v = values + (i * s + j) * c;
                const float *restrict row = rows + i * c, *restrict column = columns + j * c;
                float *restrict a = row_share + i * c, *restrict b = column_share + j * c;
                EACH { a[k] += v[k] == row[k]; b[k] += v[k] == column[k]; }
            }
    for (count k = 0; k < t * c; k++) row_share[k] = of_rows[k] / row_share[k];
    for (count k = 0; k < s * c; k++) column_share[k] = of_columns[k] / column_share[k];
}

/* From g, the gradient of what was rectified to v, and the shares of its pools: that of what was rectified. */
INLINE void unpool(const float *restrict v, const float *restrict row, const float *restrict column,
                   const float *restrict row_share, const float *restrict column_share, float *restrict g,
                   enum pool pool, count c) {
    if (pool == MAX)
        EACH {
            const float sum = g[k] + (v[k] == row[k] ? row_share[k] : 0) + (v[k] == column[k] ? column_share[k] : 0);
            g[k] = v[k] <= 0 ? 0 : sum;
        }
    else
        EACH {
            const float sum = g[k] + row_share[k] + column_share[k];
            g[k] = v[k] <= 0 ? 0 : sum;
        }
}

/* Which of c rectified numbers are above zero (or no numbers): a bit each, of WORDS(c) words. */
typedef uint16_t marks;
#define WORDS(c) (((c) + 15) / 16)

INLINE void mark(const float *restrict v, marks *restrict to, count c) {
    count k = 0;
#if defined(__AVX512F__)
    for (; k + 16 <= c; k += 16)
        to[k / 16] = _mm512_cmp_ps_mask(_mm512_loadu_ps(v + k), _mm512_setzero_ps(), _CMP_NLE_UQ);
#elif defined(__AVX__)
    for (; k + 16 <= c; k += 16) {
        const __m256 low = _mm256_cmp_ps(_mm256_loadu_ps(v + k), _mm256_setzero_ps(), _CMP_NLE_UQ);
        const __m256 high = _mm256_cmp_ps(_mm256_loadu_ps(v + k + 8), _mm256_setzero_ps(), _CMP_NLE_UQ);
        to[k / 16] = (marks)(_mm256_movemask_ps(low) | _mm256_movemask_ps(high) << 8);
    }
#endif
    for (; k < c; k += 16) {
        unsigned word = 0;
        for (count l = 0; l < 16 && k + l < c; l++) word |= (unsigned)!(v[k + l] <= 0) << l;
        to[k / 16] = (marks)word;
    }
}

/* As unpool for sums and means, of numbers whose marks are known. */
INLINE void unpool_marked(const marks *restrict marked, const float *restrict row_share,
                          const float *restrict column_share, float *restrict g, count c) {
    count k = 0;
#if defined(__AVX512F__)
    for (; k + 16 <= c; k += 16) {
        const __m512 shares = _mm512_add_ps(_mm512_loadu_ps(row_share + k), _mm512_loadu_ps(column_share + k));
        _mm512_storeu_ps(g + k, _mm512_maskz_add_ps(marked[k / 16], _mm512_loadu_ps(g + k), shares));
    }
#elif defined(__AVX2__)
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    for (; k + 8 <= c; k += 8) {
        const __m256i word = _mm256_set1_epi32(marked[k / 16] >> k % 16);
        const __m256i mask = _mm256_cmpeq_epi32(_mm256_and_si256(word, bits), bits);
        const __m256 shares = _mm256_add_ps(_mm256_loadu_ps(row_share + k), _mm256_loadu_ps(column_share + k));
        const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(g + k), shares);
        _mm256_storeu_ps(g + k, _mm256_and_ps(_mm256_castsi256_ps(mask), sum));
    }
#endif
    for (; k < c; k++) g[k] = marked[k / 16] >> k % 16 & 1 ? g[k] + (row_share[k] + column_share[k]) : 0;
}
