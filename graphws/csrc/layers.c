/* The map of a layer on float32 tensors [n, t, s, k], the sums, ReLU and pools that follow it, and their gradients.
 *
 * n networks, each a matrix of t targets by s sources; a map of k channels to c. `rows` are pools over sources
 * [n, t, c], `columns` pools over targets [n, s, c]. A few rows of channels at a time are mapped and read, while they
 * are in the cache. All is contiguous, but for pieces with strides of networks and of rows.
 */
#include "pools.h"
#include "products.h"
#ifdef _OPENMP
#include <omp.h>
#define THREAD omp_get_thread_num()
#else
#define THREAD 0
#endif

enum { FORWARD = 10 * ROWS, BACKWARD = 20 * ROWS }; /* rows at a time */

INLINE void write_row(float *restrict o, const float *restrict target, const float *restrict source,
                      const float *restrict old, enum pool pool, count c) {
    if (old) EACH o[k] = o[k] + target[k] + source[k] + old[k];
    else if (pool == NONE) EACH o[k] = o[k] + target[k] + source[k];
    else EACH o[k] = relu(o[k] + target[k] + source[k]);
}

INLINE void write_block(float *out, count first, count size, const float *targets, count tr, const float *sources,
                        count sr, const float *old, float *rows, float *columns, enum pool pool, count s, count c) {
    count i = first / s, j = first % s;
    for (count at = first; at < first + size; at++) {
        write_row(out + at * c, targets + i * tr, sources + j * sr, old ? old + at * c : 0, pool, c);
        collect(out + at * c, rows + i * c, columns + j * c, pool, c);
        if (++j == s) i++, j = 0;
    }
}

/* The readings [size, r] of rows [size, c] by a reader [r, c], which is that of [c, r] transposed. */
static void read_block(const float *rows, const float *reader, const float *transposed, float *read, count size,
                       count c, count r) {
    if (r >= LANES) block_product(rows, c, 1, transposed, r, 0, 0, read, r, size, c, r);
    else
        for (count i = 0; i < size; i++)
            for (count k = 0; k < r; k++) WITH(c, read[i * r + k] = dot(rows + i * c, reader + k * c, C));
}

/* out = x weight + targets + sources + old; where there is a pool, relu of it (without old), its pools, and what a
 * reader [r, c] reads of it, read [n, t, s, r]. weight: [k, c]. */
void map_rows(const float *x, const float *weight, const float *targets, count tn, count tr, const float *sources,
              count sn, count sr, const float *old, float *out, float *rows, float *columns, const float *reader,
              const float *transposed, float *read, int pool, count n, count t, count s, count k, count c, count r,
              int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const float *target = targets + b * tn, *source = sources + b * sn;
        float *row = rows + b * t * c, *column = columns + b * s * c, *o = out + b * t * s * c;
        if (pool != NONE) start(row, column, pool, t, s, c);
        for (count first = 0; first < t * s; first += FORWARD) {
            const count size = t * s - first < FORWARD ? t * s - first : FORWARD, at = b * t * s + first;
            const float *before = old ? old + b * t * s * c : 0;
            block_product(x + at * k, k, 1, weight, c, 0, 0, out + at * c, c, size, k, c);
            if (pool == NONE) WITH(c, write_block(o, first, size, target, tr, source, sr, before, 0, 0, NONE, s, C));
            else if (pool == MAX)
                WITH(c, write_block(o, first, size, target, tr, source, sr, 0, row, column, MAX, s, C));
            else WITH(c, write_block(o, first, size, target, tr, source, sr, 0, row, column, SUM, s, C));
            if (reader) read_block(out + at * c, reader, transposed, read + at * r, size, c, r);
        }
        if (pool != NONE) finish(row, column, pool, t, s, c);
    }
}

/* What is known of a network where the gradient of its values is formed. */
struct network {
    const float *values, *rows, *columns; /* rectified, and their pools */
    const float *row_share, *column_share; /* of the gradients of pools */
    float *row_sums, *column_sums;         /* of the gradient */
};

/* The gradient of rows that were mapped, in the place of that of the result, and its sums. */
INLINE void unpool_block(const struct network *own, float *above, count first, count size, enum pool pool, count s,
                         count c) {
    count i = first / s, j = first % s;
    for (count at = first; at < first + size; at++, above += c) {
        const count row = i * c, column = j * c;
        if (pool != NONE)
            unpool(own->values + at * c, own->rows + row, own->columns + column, own->row_share + row,
                   own->column_share + column, above, pool, c);
        collect(above, own->row_sums + row, own->column_sums + column, SUM, c);
        if (++j == s) i++, j = 0;
    }
}

/* The gradients of map_rows: of x (unless there is none), of weight [c, k] and reader, each [threads, ..] to be summed,
 * and the sums over sources and over targets of that of the map, by that of out, or of what was read, and of the pools.
 * work: [threads, t + s + BACKWARD, c]. */
void unmap_rows(const float *x, const float *weight, const float *values, const float *rows, const float *columns,
                const float *reader, const float *of_out, const float *of_rows, const float *of_columns, float *of_x,
                float *of_weight, float *of_reader, float *row_sums, float *column_sums, float *work, int pool,
                count n, count t, count s, count k, count c, count r, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const count row = b * t * c, column = b * s * c;
        float *row_share = work + THREAD * (t + s + BACKWARD) * c, *column_share = row_share + t * c;
        float *above = column_share + s * c, *found = of_weight + THREAD * c * k;
        const struct network own = {values + b * t * s * c, rows + row, columns + column, row_share,
                                    column_share, row_sums + row, column_sums + column};
        if (pool != NONE)
            shares(own.values, own.rows, own.columns, of_rows + row, of_columns + column, row_share, column_share, pool,
                   t, s, c);
        start(own.row_sums, own.column_sums, SUM, t, s, c);
        for (count first = 0; first < t * s; first += BACKWARD) {
            const count size = t * s - first < BACKWARD ? t * s - first : BACKWARD, at = b * t * s + first;
            if (reader) {
                block_product(of_out + at * r, r, 1, reader, c, 0, 0, above, c, size, r, c);
                float *total = of_reader + THREAD * r * c;
                block_product(of_out + at * r, 1, r, values + at * c, c, total, c, total, c, r, size, c);
            } else memcpy(above, of_out + at * c, size * c * sizeof *above);
            if (pool == NONE) WITH(c, unpool_block(&own, above, first, size, NONE, s, C));
            else if (pool == MAX) WITH(c, unpool_block(&own, above, first, size, MAX, s, C));
            else WITH(c, unpool_block(&own, above, first, size, SUM, s, C));
            if (of_x) block_product(above, c, 1, weight, k, 0, 0, of_x + at * k, k, size, c, k);
            block_product(above, 1, c, x + at * k, k, found, k, found, k, c, size, k);
        }
    }
}
