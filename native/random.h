/* random.h: the one source of randomness of the simulator, xoshiro256** with streams, and the laws drawn from it.
 *
 * xoshiro256** (Blackman and Vigna 2018, "Scrambled linear pseudorandom number generators") has period 2^256 - 1,
 * passes the known test batteries and costs about a nanosecond. Its state is filled by splitmix64, as its authors advise.
 * Every consumer owns a stream: (seed, stream number) gives an independent start, so that one more draw in the latency
 * model never shifts the order flow.
 *
 * Each law takes exactly one 64-bit draw (random_below alone may repeat, with probability below n / 2^32): a tape can be
 * followed draw by draw.
 */
#ifndef TRADINGD_RANDOM_H
#define TRADINGD_RANDOM_H

#include <stdint.h>

#include "deterministic_math.h"

/* Stream numbers, so that no two consumers of one seed share a sequence. */
#define RANDOM_STREAM_FLOW UINT64_C(1)
#define RANDOM_STREAM_LATENCY UINT64_C(2)
#define RANDOM_STREAM_REJECT UINT64_C(3)
#define RANDOM_STREAM_QUEUE UINT64_C(4)
#define RANDOM_STREAM_FAULT UINT64_C(5)

typedef struct {
    uint64_t s[4];
} random_stream;

/* splitmix64 (Steele, Lea and Flood 2014): advances *state and returns a well-mixed word. */
static inline uint64_t random_splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Stream 0 is the plain xoshiro256** of the seed; other streams start from a seed mixed with their number. */
static inline void random_seed(random_stream *r, uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;
    if (stream != 0) {
        uint64_t salt = stream;
        state = random_splitmix(&state) ^ random_splitmix(&salt);
    }
    for (int i = 0; i < 4; i++) {
        r->s[i] = random_splitmix(&state);
    }
    if ((r->s[0] | r->s[1] | r->s[2] | r->s[3]) == 0) { /* the one fixed point */
        r->s[0] = 1;
    }
}

static inline uint64_t random_rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static inline uint64_t random_next(random_stream *r)
{
    const uint64_t result = random_rotate_left(r->s[1] * 5, 7) * 9;
    const uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = random_rotate_left(r->s[3], 45);
    return result;
}

/* As 2^128 calls of random_next: sub-streams of one stream that provably never overlap. */
static inline void random_jump(random_stream *r)
{
    static const uint64_t polynomial[4] = {UINT64_C(0x180ec6d33cfd0aba), UINT64_C(0xd5a61266f0c9392c),
                                           UINT64_C(0xa9582618e03fc9aa), UINT64_C(0x39abdc4529b1661c)};
    random_stream sum = {{0, 0, 0, 0}};
    for (int word = 0; word < 4; word++) {
        for (int bit = 0; bit < 64; bit++) {
            if (polynomial[word] >> bit & 1) {
                for (int i = 0; i < 4; i++) {
                    sum.s[i] ^= r->s[i];
                }
            }
            random_next(r);
        }
    }
    *r = sum;
}

/* Uniform on [0, 1), a multiple of 2^-53. */
static inline double random_unit(random_stream *r)
{
    return (double)(random_next(r) >> 11) * 0x1p-53;
}

/* Uniform on (0, 1), never 0 nor 1: an odd multiple of 2^-53. */
static inline double random_unit_open(random_stream *r)
{
    return ((double)(random_next(r) >> 12) + 0.5) * 0x1p-52;
}

/* Uniform on 0..n-1, n > 0, without bias (Lemire 2019, multiply and reject). */
static inline uint32_t random_below(random_stream *r, uint32_t n)
{
    uint64_t product = (random_next(r) >> 32) * n;
    if ((uint32_t)product < n) {
        const uint32_t threshold = (0U - n) % n;
        while ((uint32_t)product < threshold) {
            product = (random_next(r) >> 32) * n;
        }
    }
    return (uint32_t)(product >> 32);
}

/* Mean 1. */
static inline double random_exponential(random_stream *r)
{
    return -math_ln(random_unit_open(r));
}

/* Mean 0, variance 1, by inversion. */
static inline double random_normal(random_stream *r)
{
    return math_normal_quantile(random_unit_open(r));
}

#endif
