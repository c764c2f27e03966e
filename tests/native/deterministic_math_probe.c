/* deterministic_math_probe.c: the static inline functions of two headers, as arrays in and arrays out, for the tests. */
#include "random.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void probe_ln(int64_t n, const double *x, double *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[i] = math_ln(x[i]);
    }
}

EXPORT void probe_exp(int64_t n, const double *x, double *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[i] = math_exp(x[i]);
    }
}

EXPORT void probe_sqrt(int64_t n, const double *x, double *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[i] = math_sqrt(x[i]);
    }
}

EXPORT void probe_normal_quantile(int64_t n, const double *x, double *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[i] = math_normal_quantile(x[i]);
    }
}

EXPORT void probe_words(uint64_t seed, uint64_t stream, int jumps, int64_t n, uint64_t *out)
{
    random_stream r;
    random_seed(&r, seed, stream);
    for (int i = 0; i < jumps; i++) {
        random_jump(&r);
    }
    for (int64_t i = 0; i < n; i++) {
        out[i] = random_next(&r);
    }
}

EXPORT void probe_words_from_state(const uint64_t *state, int64_t n, uint64_t *out)
{
    random_stream r = {{state[0], state[1], state[2], state[3]}};
    for (int64_t i = 0; i < n; i++) {
        out[i] = random_next(&r);
    }
}

EXPORT void probe_below(uint64_t seed, uint32_t limit, int64_t n, uint64_t *out)
{
    random_stream r;
    random_seed(&r, seed, 0);
    for (int64_t i = 0; i < n; i++) {
        out[i] = random_below(&r, limit);
    }
}

/* law 0: uniform, 1: open uniform, 2: exponential, 3: normal */
EXPORT void probe_law(uint64_t seed, int law, int64_t n, double *out)
{
    random_stream r;
    random_seed(&r, seed, 0);
    for (int64_t i = 0; i < n; i++) {
        out[i] = law == 0 ? random_unit(&r) : law == 1 ? random_unit_open(&r) : law == 2 ? random_exponential(&r) : random_normal(&r);
    }
}
