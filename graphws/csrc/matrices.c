/* Passes over float32 tensors [n, t, s, c] that do in one pass what torch does in several.
 *
 * n networks, each a matrix of t targets by s sources, of c channels. `rows` are pools over sources [n, t, c],
 * `columns` pools over targets [n, s, c]. All is contiguous, but for pieces with strides of networks and of rows.
 */
#include "common.h"

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

INLINE void write_network(const float *found, const float *old, float *out, const float *targets, count tr,
                          const float *sources, count sr, float *rows, float *columns, enum pool pool, count t,
                          count s, count c) {
    if (pool != NONE) start(rows, columns, pool, t, s, c);
    for (count i = 0; i < t; i++)
        for (count j = 0; j < s; j++) {
            const count at = (i * s + j) * c;
            const float *restrict f = found + at, *restrict before = old + at;
            const float *restrict target = targets + i * tr, *restrict source = sources + j * sr;
            float *restrict o = out + at;
            if (old) EACH o[k] = f[k] + target[k] + source[k] + before[k];
            else if (pool == NONE) EACH o[k] = f[k] + target[k] + source[k];
            else EACH o[k] = relu(f[k] + target[k] + source[k]);
            collect(o, rows + i * c, columns + j * c, pool, c);
        }
    if (pool != NONE) finish(rows, columns, pool, t, s, c);
}

/* out = found + targets + sources + old; where there is a pool, relu of it (without old), and its pools. */
void write_rows(const float *found, const float *old, float *out, const float *targets, count tn, count tr,
                const float *sources, count sn, count sr, float *rows, float *columns, int pool, count n, count t,
                count s, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const count at = b * t * s * c;
        const float *own = old ? old + at : 0, *target = targets + b * tn, *source = sources + b * sn;
        float *row = rows + b * t * c, *column = columns + b * s * c;
        if (pool == NONE)
            WITH(c, write_network(found + at, own, out + at, target, tr, source, sr, 0, 0, NONE, t, s, C));
        else if (pool == MAX)
            WITH(c, write_network(found + at, 0, out + at, target, tr, source, sr, row, column, MAX, t, s, C));
        else
            WITH(c, write_network(found + at, 0, out + at, target, tr, source, sr, row, column, pool, t, s, C));
    }
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

/* The gradient of what was rectified to v, by that of v, own, and by the shares of its pools. */
INLINE void unpool(const float *restrict v, const float *restrict own, const float *restrict row,
                   const float *restrict column, const float *restrict row_share, const float *restrict column_share,
                   float *restrict out, enum pool pool, count c) {
    if (pool == MAX)
        EACH {
            float g = own[k] + (v[k] == row[k] ? row_share[k] : 0) + (v[k] == column[k] ? column_share[k] : 0);
            out[k] = v[k] <= 0 ? 0 : g;
        }
    else
        EACH {
            float g = own[k] + row_share[k] + column_share[k];
            out[k] = v[k] <= 0 ? 0 : g;
        }
}

/* out: the gradient of what was rectified to values, and its sums over sources and over targets.
 * work: [n, t + s, c]. */
void merge_rows(const float *values, const float *rows, const float *columns, const float *own, const float *of_rows,
                const float *of_columns, float *work, float *out, float *row_sums, float *column_sums, int pool,
                count n, count t, count s, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const float *row = rows + b * t * c, *column = columns + b * s * c, *v = values + b * t * s * c;
        float *row_share = work + b * (t + s) * c, *column_share = row_share + t * c;
        shares(v, row, column, of_rows + b * t * c, of_columns + b * s * c, row_share, column_share, pool, t, s, c);
        start(row_sums + b * t * c, column_sums + b * s * c, SUM, t, s, c);
        for (count i = 0; i < t; i++)
            for (count j = 0; j < s; j++) {
                const count at = ((b * t + i) * s + j) * c;
                unpool(values + at, own + at, row + i * c, column + j * c, row_share + i * c, column_share + j * c,
                       out + at, pool, c);
                collect(out + at, row_sums + (b * t + i) * c, column_sums + (b * s + j) * c, SUM, c);
            }
    }
}

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
            unpool(rectified + at * c, own + at * c, rows + i * c, columns + j * c, row_share + i * c,
                   column_share + j * c, out + at * c, pool, c);
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
