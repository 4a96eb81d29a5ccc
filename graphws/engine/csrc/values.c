/* The values of MLPs at points; the gradients of their weights and biases, which work the hidden values out again. */
#include "products.h"
#include "waves.h"

enum kind { IDENTITY, SINE, RELU };
enum { POINTS = 8 * ROWS, LAYERS = 16, FEW = 4 }; /* points at a time; layers at most; few outputs of a layer */

/* A layer of one network. What enters its activation is scale * (weight input + bias), where it has a bias. */
struct layer {
    count in, out;
    enum kind kind;
    float scale, bias;
    float *weight, *transposed, *offset, *of_weight, *of_offset; /* scaled; those of gradients are, too */
    float *sums, *values;                                        /* of POINTS points */
};

struct networks {
    count layers, points, node_count, edge_count, channels;
    struct layer layer[LAYERS];
};

/* sizes: d_0 .. d_L; facts: kind, scale and bias of each layer. Returns where the memory for gradients ends. */
static float *arrange(struct networks *all, const ptrdiff_t *sizes, const float *facts, count layers, count points,
                      count channels, float *work) {
    *all = (struct networks){.layers = layers, .points = points, .channels = channels, .node_count = sizes[0]};
    for (count l = 0; l < layers; l++) {
        const count in = sizes[l], out = sizes[l + 1];
        struct layer *own = all->layer + l;
        *own = (struct layer){.in = in, .out = out, .kind = (enum kind)facts[3 * l]};
        own->scale = facts[3 * l + 1], own->bias = facts[3 * l + 2];
        own->weight = work;
        own->transposed = own->weight + in * out;
        own->of_weight = own->transposed + in * out;
        own->offset = own->of_weight + in * out;
        own->of_offset = own->offset + out;
        own->sums = own->of_offset + out;
        own->values = own->sums + POINTS * out;
        work = own->values + POINTS * out;
        all->node_count += out;
        all->edge_count += in * out;
    }
    return work;
}

/* Copies the weights of network b, channel k. */
static void load(struct networks *all, const float *nodes, const float *edges, count b, count k) {
    const count c = all->channels;
    const float *node = nodes + (b * all->node_count + all->layer[0].in) * c + k;
    const float *edge = edges + b * all->edge_count * c + k;
    for (count l = 0; l < all->layers; l++) {
        const struct layer *own = all->layer + l;
        for (count o = 0; o < own->out; o++, node += c) {
            own->offset[o] = own->bias * own->scale * *node;
            for (count i = 0; i < own->in; i++, edge += c)
                own->transposed[i * own->out + o] = own->weight[o * own->in + i] = own->scale * *edge;
        }
        memset(own->of_weight, 0, own->in * own->out * sizeof(float));
        memset(own->of_offset, 0, own->out * sizeof(float));
    }
}

/* Writes the gradients of the weights of network b, channel k. */
static void store(const struct networks *all, float *nodes, float *edges, count b, count k) {
    const count c = all->channels;
    float *node = nodes + b * all->node_count * c + k, *edge = edges + b * all->edge_count * c + k;
    for (count i = 0; i < all->layer[0].in; i++, node += c) *node = 0;
    for (count l = 0; l < all->layers; l++) {
        const struct layer *own = all->layer + l;
        const int wide = own->out >= own->in; /* there of_weight is transposed */
        for (count o = 0; o < own->out; o++, node += c) {
            *node = own->bias * own->scale * own->of_offset[o];
            for (count i = 0; i < own->in; i++, edge += c)
                *edge = own->scale * own->of_weight[wide ? i * own->out + o : o * own->in + i];
        }
    }
}

static void activate(const struct layer *own, float *restrict to, count size) {
    const float *restrict from = own->sums;
    if (own->kind == SINE) for (count i = 0; i < size; i++) to[i] = wave(from[i], TURN);
    else if (own->kind == RELU) for (count i = 0; i < size; i++) to[i] = relu(from[i]);
    else memcpy(to, from, size * sizeof *to);
}

/* above: the gradient of values, becomes that of sums. */
static void slope(const struct layer *own, float *restrict above, count size) {
    const float *restrict from = own->sums;
    if (own->kind == SINE) for (count i = 0; i < size; i++) above[i] *= wave(from[i], QUARTER);
    else if (own->kind == RELU) for (count i = 0; i < size; i++) above[i] = from[i] <= 0 ? 0 : above[i];
}

/* The sums of a layer at some points. */
static void feed(const struct layer *own, const float *input, float *sums, count size) {
    if (own->out >= FEW) {
        block_product(input, own->in, 1, own->transposed, own->out, own->offset, 0, sums, own->out, size, own->in,
                      own->out);
        return;
    }
    for (count p = 0; p < size; p++)
        for (count o = 0; o < own->out; o++) {
            const float *row = input + p * own->in, *weight = own->weight + o * own->in;
            WITH(own->in, sums[p * own->out + o] = own->offset[o] + dot(row, weight, C));
        }
}

/* Runs a network on points; the sums of its last layer stay where `last` is. */
static void run(const struct networks *all, const float *points, float *last, count size) {
    for (count l = 0; l < all->layers; l++) {
        const struct layer *own = all->layer + l;
        feed(own, points, l + 1 == all->layers ? last : own->sums, size);
        if (l + 1 < all->layers) activate(own, own->values, size * own->out);
        points = own->values;
    }
}

/* Adds the gradients of a layer, by that of its sums; writes that of its input, unless there is no place for it. */
static void turn_back(const struct layer *own, const float *input, const float *above, float *below, count size) {
    const count in = own->in, out = own->out;
    float *total = own->of_weight;
    if (out >= in) block_product(input, 1, in, above, out, total, out, total, out, in, size, out);
    else block_product(above, 1, out, input, in, total, in, total, in, out, size, in);
    for (count p = 0; p < size; p++)
        for (count o = 0; o < out; o++) own->of_offset[o] += above[p * out + o];
    if (below) block_product(above, out, 1, own->weight, in, 0, 0, below, in, size, out, in);
}

/* out [n, channels, points, d_L]: what enters the activation of the last layer of each network, at points [points, d_0]
 * or, where point_set is not 0, at those of each of the n. nodes: [n, N, channels], edges: [n, E, channels].
 * work: [threads, space]. */
void mlp_values(const float *points, count point_set, const float *nodes, const float *edges, const ptrdiff_t *sizes,
                const float *facts, float *out, float *work, count space, count n, count channels,
                count count_of_points, count layers, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++)
        for (count k = 0; k < channels; k++) {
            struct networks all;
            arrange(&all, sizes, facts, layers, count_of_points, channels, work + THREAD * space);
            load(&all, nodes, edges, b, k);
            const count d = sizes[layers];
            float *to = out + (b * channels + k) * count_of_points * d;
            for (count p = 0; p < count_of_points; p += POINTS) {
                const count size = count_of_points - p < POINTS ? count_of_points - p : POINTS;
                run(&all, points + b * point_set + p * sizes[0], to + p * d, size);
            }
        }
}

/* The gradients of nodes and edges, by that of out. */
void mlp_slopes(const float *points, count point_set, const float *nodes, const float *edges, const ptrdiff_t *sizes,
                const float *facts, const float *of_out, float *of_nodes, float *of_edges, float *work, count space,
                count n, count channels, count count_of_points, count layers, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
    for (count b = 0; b < n; b++)
        for (count k = 0; k < channels; k++) {
            struct networks all;
            float *above = arrange(&all, sizes, facts, layers, count_of_points, channels, work + THREAD * space);
            float *below = above + (work + (THREAD + 1) * space - above) / 2;
            const count d = sizes[layers];
            load(&all, nodes, edges, b, k);
            for (count p = 0; p < count_of_points; p += POINTS) {
                const count size = count_of_points - p < POINTS ? count_of_points - p : POINTS;
                const float *at = points + b * point_set + p * sizes[0];
                run(&all, at, all.layer[layers - 1].sums, size);
                memcpy(above, of_out + ((b * channels + k) * count_of_points + p) * d, size * d * sizeof *above);
                for (count l = layers - 1; l >= 0; l--) {
                    turn_back(all.layer + l, l ? all.layer[l - 1].values : at, above, l ? below : 0, size);
                    float *swap = above;
                    above = below, below = swap;
                    if (l) slope(all.layer + l - 1, above, size * sizes[l]);
                }
            }
            store(&all, of_nodes, of_edges, b, k);
        }
}
