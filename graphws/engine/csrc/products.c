/* Products of float32 matrices. */
#include "products.h"

enum { BLOCK = 10 * ROWS }; /* rows of the left factor that stay in the cache */

/* Numbers that a register holds. */
int lane_count(void) { return LANES; }

/* out [n, m] = start + a b; numbers of a [n, inner] stand a_row and a_inner apart, start may be none, a row or out. */
void multiply(const float *a, count a_row, count a_inner, const float *b, count b_row, const float *start,
              count start_row, float *out, count out_row, count n, count inner, count m, int threads) {
    for (count q = 0; q < inner; q += INNER) {
        const float *before = q ? out : start;
        const count before_row = q ? out_row : start_row, depth = inner - q < INNER ? inner - q : INNER;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
        for (count i = 0; i < n; i += BLOCK)
            for (count j = 0; j < m; j += WIDE)
                panel(a + i * a_row + q * a_inner, a_row, a_inner, b + q * b_row + j, b_row,
                      before ? before + i * before_row + j : 0, before_row, out + i * out_row + j, out_row,
                      n - i < BLOCK ? n - i : BLOCK, depth, m - j < WIDE ? m - j : WIDE);
    }
}
