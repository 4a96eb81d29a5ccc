/* Transposes of float32 matrices, and Chebyshev polynomials of float32 numbers. */
#include "common.h"
#ifdef __AVX__
#include <immintrin.h>
#endif

/* A block of a transpose: 8 rows of 8 numbers. */
#ifdef __AVX__
INLINE void transpose_block(const float *in, count in_row, float *out, count out_row) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(in + i * in_row);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm256_shuffle_ps(b[i + j], b[i + 2 + j], 0x44);
            a[i + 2 * j + 1] = _mm256_shuffle_ps(b[i + j], b[i + 2 + j], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * out_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * out_row, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}
#else
INLINE void transpose_block(const float *in, count in_row, float *out, count out_row) {
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) out[j * out_row + i] = in[i * in_row + j];
}
#endif

/* The transpose of rows of a matrix [.., n], in a tile: 8 streams are written at a time. */
enum { TILE = 64 };

INLINE void transpose_tile(const float *in, count in_row, float *out, count out_row, count rows, count n) {
    for (count j = 0; j < n; j += 8)
        for (count i = 0; i < rows; i += 8) {
            const float *from = in + i * in_row + j;
            float *to = out + j * out_row + i;
            if (rows - i >= 8 && n - j >= 8) transpose_block(from, in_row, to, out_row);
            else
                for (count a = 0; a < 8 && i + a < rows; a++)
                    for (count b = 0; b < 8 && j + b < n; b++) to[b * out_row + a] = from[a * in_row + b];
        }
}

/* out [batch, n, m]: the transposes of in [batch, m, n]; their matrices and rows stand so far apart. */
void transpose(const float *in, count in_matrix, count in_row, float *out, count out_matrix, count out_row, count batch,
               count m, count n, int threads) {
    const count tiles = (m + TILE - 1) / TILE;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count tile = 0; tile < batch * tiles; tile++) {
        const count b = tile / tiles, i = tile % tiles * TILE;
        transpose_tile(in + b * in_matrix + i * in_row, in_row, out + b * out_matrix + i, out_row,
                       m - i < TILE ? m - i : TILE, n);
    }
}

/* out [n, size]: T_0 .. T_{size - 1} at x / radius, by their recursion in double precision. */
void chebyshev(const float *x, float radius, float *out, count n, count size, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count first = 0; first < n; first += TILE) {
        const count rows = n - first < TILE ? n - first : TILE;
        double last[TILE], now[TILE], twice[TILE];
        for (count i = 0; i < rows; i++) {
            last[i] = 1;
            now[i] = x[first + i] / radius;
            twice[i] = 2 * now[i];
        }
        for (count k = 0; k < size; k++)
            for (count i = 0; i < rows; i++) {
                const double next = twice[i] * now[i] - last[i];
                out[(first + i) * size + k] = (float)last[i];
                last[i] = now[i];
                now[i] = next;
            }
    }
}
