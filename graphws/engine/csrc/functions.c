/* Functions of float32 numbers that input networks are made of, and sums of rows by few weights. */
#include "waves.h"

/* out = sin x, or above * cos x. */
void sine(const float *x, const float *above, float *out, count n, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count first = 0; first < n; first += 4096) {
        const count size = n - first < 4096 ? n - first : 4096;
        const float *restrict own = x + first, *restrict g = above + first;
        float *restrict o = out + first;
        if (above) for (count k = 0; k < size; k++) o[k] = g[k] * wave(own[k], QUARTER);
        else for (count k = 0; k < size; k++) o[k] = wave(own[k], TURN);
    }
}

/* out [n]: the products of rows [n, c] and one row of weights. */
void row_products(const float *rows, const float *weights, float *out, count n, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) WITH(c, out[b] = dot(rows + b * c, weights, C));
}

INLINE void add_weighted(const float *weights, const float *rows, float *restrict out, count n, count c) {
    count b = 0;
    for (; b + 4 <= n; b += 4) {
        const float *restrict x = rows + b * c, *w = weights + b;
        EACH out[k] += (w[0] * x[k] + w[1] * x[c + k]) + (w[2] * x[2 * c + k] + w[3] * x[3 * c + k]);
    }
    for (; b < n; b++) EACH out[k] += weights[b] * rows[b * c + k];
}

/* out [c]: added is the sum of rows [n, c] times their weights. */
void weighted_rows(const float *weights, const float *rows, float *out, count n, count c, int threads) {
    (void)threads; /* one total */
    WITH(c, add_weighted(weights, rows, out, n, C));
}
