/* Normalisation over channels, ReLU and pools of float32 tensors [n, t, s, c] in one pass, and its gradient.
 *
 * n networks, each a matrix of t targets by s sources, of c channels. `rows` are pools over sources [n, t, c],
 * `columns` pools over targets [n, s, c]. All is contiguous.
 */
#include "pools.h"

INLINE void rectify_network(const float *values, const float *weight, const float *bias, float eps, float *mean,
                            float *scale, float *out, float *rows, float *columns, enum pool pool, count t, count s,
                            count c) {
    start(rows, columns, pool, t, s, c);
    for (count i = 0; i < t; i++)
        for (count j = 0; j < s; j++) {
            const count at = i * s + j;
            const float *restrict x = values + at * c;
            float *restrict o = out + at * c;
            moments(x, eps, mean + at, scale + at, c);
            const float middle = mean[at], factor = scale[at];
            EACH o[k] = relu((x[k] - middle) * factor * weight[k] + bias[k]);
            collect(o, rows + i * c, columns + j * c, pool, c);
        }
    finish(rows, columns, pool, t, s, c);
}

/* out = relu(norm(values)), its pools, and the statistics of the norm, [n, t, s] each. */
void rectify_rows(const float *values, const float *weight, const float *bias, float eps, float *mean, float *scale,
                  float *out, float *rows, float *columns, int pool, count n, count t, count s, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const count at = b * t * s;
        float *row = rows + b * t * c, *column = columns + b * s * c, *o = out + at * c;
        const float *x = values + at * c;
        if (pool == MAX)
            WITH(c, rectify_network(x, weight, bias, eps, mean + at, scale + at, o, row, column, MAX, t, s, C));
        else
            WITH(c, rectify_network(x, weight, bias, eps, mean + at, scale + at, o, row, column, pool, t, s, C));
    }
}

/* The gradient of a row x whose normalised values have the gradient g, in the place of g; adds those of the affine. */
INLINE void unnormalise(const float *restrict x, float mean, float scale, const float *restrict weight,
                        float *restrict g, float *restrict of_weight, float *restrict of_bias, count c) {
    float sum = 0, moment = 0;
#pragma omp simd reduction(+ : sum, moment)
    EACH {
        const float hat = (x[k] - mean) * scale;
        of_weight[k] += g[k] * hat;
        of_bias[k] += g[k];
        g[k] *= weight[k];
        sum += g[k];
        moment += g[k] * hat;
    }
    sum /= c;
    moment /= c;
    EACH g[k] = scale * (g[k] - sum - (x[k] - mean) * scale * moment);
}

INLINE void unrectify_network(const float *values, const float *weight, const float *mean, const float *scale,
                              const float *rectified, const float *rows, const float *columns, const float *own,
                              const float *of_rows, const float *of_columns, float *work, float *out,
                              float *of_weight, float *of_bias, enum pool pool, count t, count s, count c) {
    float *row_share = work, *column_share = work + t * c;
    shares(rectified, rows, columns, of_rows, of_columns, row_share, column_share, pool, t, s, c);
    fill(of_weight, c, 0);
    fill(of_bias, c, 0);
    for (count i = 0; i < t; i++)
        for (count j = 0; j < s; j++) {
            const count at = i * s + j;
            memcpy(out + at * c, own + at * c, c * sizeof *out);
            unpool(rectified + at * c, rows + i * c, columns + j * c, row_share + i * c, column_share + j * c,
                   out + at * c, pool, c);
            unnormalise(values + at * c, mean[at], scale[at], weight, out + at * c, of_weight, of_bias, c);
        }
}

/* The gradient of the values of rectify_rows, and of weight and bias, [n, c] each to be summed. work: [n, t + s, c]. */
void unrectify_rows(const float *values, const float *weight, const float *mean, const float *scale,
                    const float *rectified, const float *rows, const float *columns, const float *own,
                    const float *of_rows, const float *of_columns, float *work, float *out, float *of_weight,
                    float *of_bias, int pool, count n, count t, count s, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const count at = b * t * s, row = b * t * c, column = b * s * c;
        WITH(c, unrectify_network(values + at * c, weight, mean + at, scale + at, rectified + at * c, rows + row,
                                  columns + column, own + at * c, of_rows + row, of_columns + column,
                                  work + row + column, out + at * c, of_weight + b * c, of_bias + b * c, pool, t, s,
                                  C));
    }
}
