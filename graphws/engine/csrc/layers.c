/* The map of a layer on float32 tensors [n, t, s, k], the sums, ReLU and pools that follow it, and their gradients.
 *
 * n networks, each a matrix of t targets by s sources; a map of k channels to c. `rows` are pools over sources
 * [n, t, c], `columns` pools over targets [n, s, c]. A few rows of channels at a time are mapped and read, while they
 * are in the cache. All is contiguous, but for pieces with strides of networks and of rows.
 */
#include "pools.h"
#include "products.h"

enum { FORWARD = 10 * ROWS, BACKWARD = 20 * ROWS }; /* rows at a time */
#define EACH_BLOCK(limit) \
    for (count first = 0, size; (size = t * s - first < limit ? t * s - first : limit) > 0; first += limit)

/* Asks for rows of the next block, which memory brings while this one is worked on; past the end it does no harm. */
INLINE void ask_for(const float *row, count c) {
    for (count k = 0; k < c; k += 64 / sizeof *row) __builtin_prefetch(row + k, 0, 2);
}

/* Rows that are added to each target and to each source of a network. */
struct pieces {
    const float *targets, *sources;
    count target_row, source_row;
};

/* out, rows from `first` on: found + pieces + old; where there is a pool, relu of it (without old), marked and
 * collected where there is space. next: rows [size, wide] that are asked for. */
INLINE void write_block(float *out, count first, count size, const struct pieces *pieces, const float *old,
                        marks *marked, float *rows, float *columns, enum pool pool, count s, count c,
                        const float *next, count wide) {
    count i = first / s, j = first % s;
    for (count at = 0; at < size; at++) {
        float *restrict o = out + at * c;
        const float *restrict target = pieces->targets + i * pieces->target_row;
        const float *restrict source = pieces->sources + j * pieces->source_row;
        const float *restrict before = old ? old + at * c : 0;
        if (old) EACH o[k] = o[k] + target[k] + source[k] + before[k];
        else if (pool == NONE) EACH o[k] = o[k] + target[k] + source[k];
        else EACH o[k] = relu(o[k] + target[k] + source[k]);
        if (marked) mark(o, marked + at * WORDS(c), c);
        if (rows) collect(o, rows + i * c, columns + j * c, pool, c);
        ask_for(next + at * wide, wide);
        if (++j == s) i++, j = 0;
    }
}

/* out = x weight + targets + sources + old; where there is a pool, relu of it (without old), its pools and, but for the
 * maximum, its marks [n, t, s, WORDS(c)]. weight: [k, c]. */
void map_rows(const float *x, const float *weight, const float *targets, count tn, count tr, const float *sources,
              count sn, count sr, const float *old, float *out, float *rows, float *columns, marks *marked, int pool,
              count n, count t, count s, count k, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const struct pieces pieces = {targets + b * tn, sources + b * sn, tr, sr};
        float *row = pool ? rows + b * t * c : 0, *column = pool ? columns + b * s * c : 0;
        if (pool) start(row, column, pool, t, s, c);
        EACH_BLOCK(FORWARD) {
            const count at = b * t * s + first;
            const float *before = old ? old + at * c : 0, *next = x + (at + size) * k;
            float *o = out + at * c;
            marks *to = pool ? marked + at * WORDS(c) : 0;
            block_product(x + at * k, k, 1, weight, c, 0, 0, o, c, size, k, c);
            if (pool == NONE) WITH(c, write_block(o, first, size, &pieces, before, 0, 0, 0, NONE, s, C, next, k));
            else if (pool == MAX) WITH(c, write_block(o, first, size, &pieces, 0, 0, row, column, MAX, s, C, next, k));
            else WITH(c, write_block(o, first, size, &pieces, 0, to, row, column, SUM, s, C, next, k));
        }
        if (pool) finish(row, column, pool, t, s, c);
    }
}

/* What is known of a network where the gradient of its pools is shared out, and the sums of that of its values. */
struct network {
    const float *rows, *columns, *row_share, *column_share;
    float *row_sums, *column_sums;
};

/* Rows of the next block of the inputs of a gradient: x [size, wide] and of_out [size, c], or none. */
struct next {
    const float *x, *of_out;
    count wide;
};

/* From above, the gradient of the values, rows from `first` on, that of what was rectified; its sums. */
INLINE void unpool_block(const struct network *own, const float *values, const marks *marked, float *above, count first,
                         count size, enum pool pool, count s, count c, const struct next *next) {
    count i = first / s, j = first % s;
    for (count at = 0; at < size; at++) {
        const count row = i * c, column = j * c;
        const float *row_share = own->row_share + row, *column_share = own->column_share + column;
        if (pool == MAX)
            unpool(values + at * c, own->rows + row, own->columns + column, row_share, column_share, above + at * c,
                   MAX, c);
        else if (pool != NONE) unpool_marked(marked + at * WORDS(c), row_share, column_share, above + at * c, c);
        collect(above + at * c, own->row_sums + row, own->column_sums + column, SUM, c);
        if (next->x) ask_for(next->x + at * next->wide, next->wide);
        if (next->of_out) ask_for(next->of_out + at * c, c);
        if (++j == s) i++, j = 0;
    }
}

/* The gradients of map_rows, by those of its result and its pools, and by its marks or, for the maximum, its result and
 * pools themselves: of x (unless there is none; it may stand where that of out does), of weight, here [c, k],
 * [threads, k, c] to be summed, and the sums of that of the map over sources and over targets.
 * work: [threads, t + s + BACKWARD, c]. */
void unmap_rows(const float *x, const float *weight, const float *values, const float *rows, const float *columns,
                const marks *marked, const float *of_out, const float *of_rows, const float *of_columns, float *of_x,
                float *of_weight, float *row_sums, float *column_sums, float *work, int pool, count n, count t, count s,
                count k, count c, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const count row = b * t * c, column = b * s * c;
        float *row_share = work + THREAD * (t + s + BACKWARD) * c, *column_share = row_share + t * c;
        float *above = column_share + s * c, *found = of_weight + THREAD * c * k;
        const struct network own = {pool == MAX ? rows + row : 0, pool == MAX ? columns + column : 0, row_share,
                                    column_share, row_sums + row, column_sums + column};
        if (pool)
            shares(pool == MAX ? values + b * t * s * c : 0, own.rows, own.columns, of_rows + row, of_columns + column,
                   row_share, column_share, pool, t, s, c);
        start(own.row_sums, own.column_sums, SUM, t, s, c);
        EACH_BLOCK(BACKWARD) {
            const count at = b * t * s + first;
            const float *v = pool == MAX ? values + at * c : 0;
            const marks *m = pool == MAX ? 0 : marked + at * WORDS(c);
            const struct next next = {x + (at + size) * k, of_out + (at + size) * c, k};
            memcpy(above, of_out + at * c, size * c * sizeof *above);
            if (pool == NONE) WITH(c, unpool_block(&own, v, m, above, first, size, NONE, s, C, &next));
            else if (pool == MAX) WITH(c, unpool_block(&own, v, m, above, first, size, MAX, s, C, &next));
            else WITH(c, unpool_block(&own, v, m, above, first, size, SUM, s, C, &next));
            if (of_x) block_product(above, c, 1, weight, k, 0, 0, of_x + at * k, k, size, c, k);
            block_product(x + at * k, 1, k, above, c, found, c, found, c, k, size, c);
        }
    }
}

/* Readings [size, r] of rows [size, c] by a reader [r, c], whose transpose is [c, r]. */
static void read_block(const float *rows, const float *reader, const float *transposed, float *read, count size,
                       count c, count r) {
    if (r >= LANES) block_product(rows, c, 1, transposed, r, 0, 0, read, r, size, c, r);
    else
        for (count i = 0; i < size; i++)
            for (count k = 0; k < r; k++) WITH(c, read[i * r + k] = dot(rows + i * c, reader + k * c, C));
}

/* The sums or means of relu(x weight + targets + sources) and its product with a reader, read [n, t, s, r]; the values
 * themselves are not kept. weight: [k, c]. work: [threads, BACKWARD, c]. */
void read_rows(const float *x, const float *weight, const float *targets, count tn, count tr, const float *sources,
               count sn, count sr, const float *reader, const float *transposed, float *read, float *rows,
               float *columns, float *work, int pool, count n, count t, count s, count k, count c, count r,
               int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const struct pieces pieces = {targets + b * tn, sources + b * sn, tr, sr};
        float *row = rows + b * t * c, *column = columns + b * s * c, *values = work + THREAD * BACKWARD * c;
        start(row, column, SUM, t, s, c);
        EACH_BLOCK(FORWARD) {
            const count at = b * t * s + first;
            block_product(x + at * k, k, 1, weight, c, 0, 0, values, c, size, k, c);
            WITH(c, write_block(values, first, size, &pieces, 0, 0, row, column, SUM, s, C, x + (at + size) * k, k));
            read_block(values, reader, transposed, read + at * r, size, c, r);
        }
        finish(row, column, pool, t, s, c);
    }
}

/* The gradients of read_rows, as unmap_rows has them, and of reader, [threads, r, c] to be summed. The values are
 * worked out again. work: [threads, t + s + 3 * BACKWARD, c]. */
void unread_rows(const float *x, const float *weight, const float *transposed, const float *targets, count tn, count tr,
                 const float *sources, count sn, count sr, const float *reader, const float *of_read,
                 const float *of_rows, const float *of_columns, float *of_x, float *of_weight, float *of_reader,
                 float *row_sums, float *column_sums, float *work, int pool, count n, count t, count s, count k,
                 count c, count r, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++) {
        const struct pieces pieces = {targets + b * tn, sources + b * sn, tr, sr};
        const count row = b * t * c, column = b * s * c;
        float *row_share = work + THREAD * (t + s + 3 * BACKWARD) * c, *column_share = row_share + t * c;
        float *above = column_share + s * c, *values = above + BACKWARD * c;
        marks *marked = (marks *)(values + BACKWARD * c);
        float *found = of_weight + THREAD * c * k, *total = of_reader + THREAD * r * c;
        const struct network own = {0, 0, row_share, column_share, row_sums + row, column_sums + column};
        shares(0, 0, 0, of_rows + row, of_columns + column, row_share, column_share, pool, t, s, c);
        start(own.row_sums, own.column_sums, SUM, t, s, c);
        EACH_BLOCK(BACKWARD) {
            const count at = b * t * s + first;
            block_product(x + at * k, k, 1, transposed, c, 0, 0, values, c, size, k, c);
            WITH(c, write_block(values, first, size, &pieces, 0, marked, 0, 0, SUM, s, C, x + (at + size) * k, k));
            block_product(of_read + at * r, r, 1, reader, c, 0, 0, above, c, size, r, c);
            block_product(of_read + at * r, 1, r, values, c, total, c, total, c, r, size, c);
            WITH(c, unpool_block(&own, 0, marked, above, first, size, SUM, s, C, &(struct next){0}));
            if (of_x) block_product(above, c, 1, weight, k, 0, 0, of_x + at * k, k, size, c, k);
            block_product(x + at * k, 1, k, above, c, found, c, found, c, k, size, c);
        }
    }
}
