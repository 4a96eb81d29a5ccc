/* One convolution of each of some networks and its gradients, channels last.
 *
 * Values [n, images, height, width, c] to [n, images, rows, columns, o] by weights [n, kernel * kernel * c, o]. The
 * patches of some positions are laid out as rows and multiplied while they are in the cache.
 */
#include "products.h"

enum { CELLS = 1 << 15 }; /* numbers of the patches at a time */

struct sizes {
    count images, height, width, c, kernel, stride, rows, columns;
};

INLINE struct sizes sizes_of(count images, count height, count width, count c, count kernel, count stride) {
    return (struct sizes){images, height, width, c, kernel, stride, (height - kernel) / stride + 1,
                          (width - kernel) / stride + 1};
}

/* Patches at a time, of which a product sums at most INNER. */
INLINE count at_once(count inner) { return CELLS / inner < INNER ? CELLS / inner : INNER; }

/* Numbers of a patch that stand side by side: copied to it, or added from it. */
INLINE void move_line(float *restrict values, float *restrict patch, int add, count length) {
    for (count k = 0; k < length; k++) {
        if (add) values[k] += patch[k];
        else patch[k] = values[k];
    }
}

/* The patches of the positions from `first` on: laid out as rows, or added to where they come from. */
INLINE void move_patches(float *values, float *patches, int add, count first, count size, const struct sizes *s,
                         count length) {
    for (count at = 0; at < size;) {
        const count position = first + at, column = position % s->columns, row = position / s->columns;
        const count image = row / s->rows, rest = s->columns - column, here = rest < size - at ? rest : size - at;
        float *own = values + ((image * s->height + row % s->rows * s->stride) * s->width + column * s->stride) * s->c;
        for (count end = at + here; at < end; at++, own += s->stride * s->c)
            for (count k = 0; k < s->kernel; k++)
                move_line(own + k * s->width * s->c, patches + (at * s->kernel + k) * length, add, length);
    }
}

/* With a length of a line that the compiler knows: of grey images and of 16 channels under kernels of 3. */
static void move(float *values, float *patches, int add, count first, count size, const struct sizes *s) {
    const count length = s->kernel * s->c;
    if (length == 3 && !add) move_patches(values, patches, 0, first, size, s, 3);
    else if (length == 48 && !add) move_patches(values, patches, 0, first, size, s, 48);
    else if (length == 48) move_patches(values, patches, 1, first, size, s, 48);
    else move_patches(values, patches, add, first, size, s, length);
}

/* out = the convolutions of values and weights, and the bias [n, o]. */
void convolve(const float *values, const float *weight, const float *bias, float *out, count n, count images,
              count height, count width, count c, count kernel, count stride, count o, int threads) {
    const struct sizes s = sizes_of(images, height, width, c, kernel, stride);
    const count inner = kernel * kernel * c, all = images * s.rows * s.columns, step = at_once(inner);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count i = 0; i < n; i++) {
        float patches[CELLS];
        for (count first = 0; first < all; first += step) {
            const count size = all - first < step ? all - first : step;
            move((float *)values + i * images * height * width * c, patches, 0, first, size, &s);
            block_product(patches, inner, 1, weight + i * inner * o, o, bias + i * o, 0, out + (i * all + first) * o,
                          o, size, inner, o);
        }
    }
}

INLINE void add_sums(const float *restrict rows, float *restrict sums, count size, count c) {
    for (count r = 0; r < size; r++) EACH sums[k] += rows[r * c + k];
}

/* Gradients of values (may be none), weights and bias by those above; `turned` are the weights as [n, o, inner]. */
void convolve_slopes(const float *values, const float *turned, const float *above, float *of_values, float *of_weight,
                     float *of_bias, count n, count images, count height, count width, count c, count kernel,
                     count stride, count o, int threads) {
    const struct sizes s = sizes_of(images, height, width, c, kernel, stride);
    const count inner = kernel * kernel * c, all = images * s.rows * s.columns, step = at_once(inner);
    const count cells = images * height * width * c;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (count i = 0; i < n; i++) {
        float patches[CELLS], *sums = of_weight + i * inner * o;
        memset(of_bias + i * o, 0, o * sizeof *of_bias);
        if (of_values) memset(of_values + i * cells, 0, cells * sizeof *of_values);
        for (count first = 0; first < all; first += step) {
            const count size = all - first < step ? all - first : step;
            const float *own = above + (i * all + first) * o;
            add_sums(own, of_bias + i * o, size, o);
            move((float *)values + i * cells, patches, 0, first, size, &s);
            block_product(patches, 1, inner, own, o, first ? sums : 0, o, sums, o, inner, size, o);
            if (!of_values) continue;
            block_product(own, o, 1, turned + i * inner * o, inner, 0, 0, patches, inner, size, o, inner);
            move(of_values + i * cells, patches, 1, first, size, &s);
        }
    }
}
