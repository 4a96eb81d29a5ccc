/* Products of float32 matrices, in tiles of a result that the vector registers hold. */
#pragma once
#include "common.h"

#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 12 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 6 };
#elif defined(__aarch64__)
enum { LANES = 4, ROWS = 12 };
#else
enum { LANES = 4, ROWS = 6 };
#endif
enum { WIDE = 2 * LANES, INNER = 512 }; /* columns of a tile; inner numbers of a pass, whose factors caches hold */
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define LANE(pointer) (*(lanes *)(pointer))
#define READ(pointer) (*(const lanes *)(pointer))

/* A tile of out = start + a b, `vectors` wide; numbers of a stand a_row and a_inner apart, start may be none. */
INLINE void tile(const float *a, count a_row, count a_inner, const float *b, count b_row, const float *start,
                 count start_row, float *out, count out_row, count inner, int rows, int vectors) {
    lanes sums[ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
        if (r < rows) sums[r][0] = sums[r][1] = (lanes){0};
    for (count i = 0; i < inner; i++) {
        const float *own = a + i * a_inner;
        const lanes left = READ(b + i * b_row), right = vectors == 2 ? READ(b + i * b_row + LANES) : left;
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++)
            if (r < rows) {
                sums[r][0] += own[r * a_row] * left;
                if (vectors == 2) sums[r][1] += own[r * a_row] * right;
            }
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
        if (r < rows)
            for (int v = 0; v < vectors; v++) {
                if (start) sums[r][v] += READ(start + r * start_row + v * LANES);
                LANE(out + r * out_row + v * LANES) = sums[r][v];
            }
}

/* A tile of fewer rows. */
static __attribute__((noinline)) void low_tile(const float *a, count a_row, count a_inner, const float *b, count b_row,
                                               const float *start, count start_row, float *out, count out_row,
                                               count inner, int rows, int vectors) {
#define CASE(r)                                                                                                \
    case r:                                                                                                    \
        if (vectors == 2) tile(a, a_row, a_inner, b, b_row, start, start_row, out, out_row, inner, r, 2);      \
        else tile(a, a_row, a_inner, b, b_row, start, start_row, out, out_row, inner, r, 1);                   \
        break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
    }
#undef CASE
}

INLINE void some_tile(const float *a, count a_row, count a_inner, const float *b, count b_row, const float *start,
                      count start_row, float *out, count out_row, count inner, int rows, int vectors) {
    if (rows == ROWS && vectors == 2) tile(a, a_row, a_inner, b, b_row, start, start_row, out, out_row, inner, ROWS, 2);
    else low_tile(a, a_row, a_inner, b, b_row, start, start_row, out, out_row, inner, rows, vectors);
}

/* At most WIDE columns of out = start + a b, of at most INNER inner numbers; fewer columns than lanes are padded. */
static __attribute__((noinline)) void panel(const float *a, count a_row, count a_inner, const float *b, count b_row,
                                            const float *start, count start_row, float *out, count out_row, count n,
                                            count inner, count columns) {
    const int vectors = columns > LANES ? 2 : 1, padded = columns != vectors * LANES;
    float copy[padded ? INNER * WIDE : 1], edge[ROWS * WIDE];
    if (padded) {
        memset(copy, 0, inner * WIDE * sizeof *copy);
        for (count i = 0; i < inner; i++) memcpy(copy + i * WIDE, b + i * b_row, columns * sizeof *b);
        b = copy, b_row = WIDE;
    }
    for (count i = 0; i < n; i += ROWS) {
        const int rows = n - i < ROWS ? n - i : ROWS;
        const float *own = a + i * a_row, *first = start ? start + i * start_row : 0;
        float *to = out + i * out_row;
        if (!padded) {
            some_tile(own, a_row, a_inner, b, b_row, first, start_row, to, out_row, inner, rows, vectors);
            continue;
        }
        for (int r = 0; first && r < rows; r++) memcpy(edge + r * WIDE, first + r * start_row, columns * sizeof *edge);
        some_tile(own, a_row, a_inner, b, b_row, first ? edge : 0, WIDE, edge, WIDE, inner, rows, vectors);
        for (int r = 0; r < rows; r++) memcpy(to + r * out_row, edge + r * WIDE, columns * sizeof *edge);
    }
}

/* out [n, m] = start + a b, on one thread. */
static inline void block_product(const float *a, count a_row, count a_inner, const float *b, count b_row,
                                 const float *start, count start_row, float *out, count out_row, count n, count inner,
                                 count m) {
    for (count q = 0; q < inner; q += INNER)
        for (count j = 0; j < m; j += WIDE) {
            const float *before = q ? out + j : start ? start + j : 0;
            panel(a + q * a_inner, a_row, a_inner, b + q * b_row + j, b_row, before, q ? out_row : start_row, out + j,
                  out_row, n, inner - q < INNER ? inner - q : INNER, m - j < WIDE ? m - j : WIDE);
        }
}
