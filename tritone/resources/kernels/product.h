/* c (m, n) = a (m, k) . b (k, n), or added to it, of words of 32 bits: floats, pairs of bfloat16, or
 * with TRITONE_INT8 four bytes, those of a unsigned and those of b signed. c is of float32, of int32
 * for bytes. n is a multiple of 16; strides are in words.
 *
 * With tiles m is filled up to TILE_ROWS and k to 16, and what a and c have there is read and
 * written too.
 */
#include "tiles.h"

#ifdef TRITONE_INT8
typedef int32_t sum;
#else
typedef float sum;
#endif

#ifdef TRITONE_AMX
enum { TOGETHER = 64, TILE_ROWS = 16 };

#ifdef TRITONE_INT8
#define ADD_PRODUCT _tile_dpbusd
#else
#define ADD_PRODUCT _tile_dpbf16ps
#endif
#define LOAD_OR_ZERO(tile, at)                \
    do {                                      \
        if (accumulate)                       \
            _tile_loadd(tile, at, 4 * ldc);   \
        else                                  \
            _tile_zero(tile);                 \
    } while (0)

/* Two tiles of a by two of b, or fewer at the ends. Numbers of tiles are written out: they are a
 * part of the instructions. */
static void product(const uint32_t *a, int64_t lda, int64_t m, const uint32_t *b, int64_t ldb,
                    int64_t k, sum *c, int64_t ldc, int64_t n, int accumulate)
{
    SETTLED;
    for (int64_t j = 0; j < n; j += 2 * TILE)
        for (int64_t i = 0; i < m; i += 2 * TILE) {
            sum *at = c + i * ldc + j, *below = at + TILE * ldc;
            const int wide = n - j > TILE, tall = m - i > TILE;
            LOAD_OR_ZERO(0, at);
            if (wide)
                LOAD_OR_ZERO(1, at + TILE);
            if (tall)
                LOAD_OR_ZERO(2, below);
            if (tall && wide)
                LOAD_OR_ZERO(3, below + TILE);
            for (int64_t w = 0; w < k; w += TILE) {
                const uint32_t *left = a + i * lda + w, *right = b + w * ldb + j;
                _tile_loadd(4, left, 4 * lda);
                _tile_loadd(6, right, 4 * ldb);
                ADD_PRODUCT(0, 4, 6);
                if (tall) {
                    _tile_loadd(5, left + TILE * lda, 4 * lda);
                    ADD_PRODUCT(2, 5, 6);
                }
                if (wide) {
                    _tile_loadd(7, right + TILE, 4 * ldb);
                    ADD_PRODUCT(1, 4, 7);
                    if (tall)
                        ADD_PRODUCT(3, 5, 7);
                }
            }
            _tile_stored(0, at, 4 * ldc);
            if (wide)
                _tile_stored(1, at + TILE, 4 * ldc);
            if (tall)
                _tile_stored(2, below, 4 * ldc);
            if (tall && wide)
                _tile_stored(3, below + TILE, 4 * ldc);
        }
    SETTLED;
}
#else
enum { TOGETHER = 50, TILE_ROWS = 1, MOST_ROWS = 5, MOST_VECTORS = 4, LANES_OF_B = 16 };

#ifdef TRITONE_INT8
typedef __m512i sums;
#else
typedef __m512 sums;
#endif

/* Products of a word of a, in all lanes, with 16 of b. */
static inline sums add_product(sums before, uint32_t a, __m512i b)
{
    const __m512i everywhere = _mm512_set1_epi32((int)a);
#if defined(TRITONE_INT8)
    return _mm512_dpbusd_epi32(before, everywhere, b);
#elif defined(TRITONE_BF16)
    return _mm512_dpbf16_ps(before, (__m512bh)everywhere, (__m512bh)b);
#else
    return _mm512_fmadd_ps((__m512)everywhere, (__m512)b, before);
#endif
}

/* `rows` and `vectors` are constants where it is called: sums stay in registers. */
static inline __attribute__((always_inline)) void
tile(const int rows, const int vectors, const uint32_t *a, int64_t lda, const uint32_t *b,
     int64_t ldb, int64_t k, sum *c, int64_t ldc, int accumulate)
{
    sums kept[MOST_ROWS][MOST_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++)
            kept[i][j] = accumulate ? (sums)_mm512_loadu_si512(c + i * ldc + LANES_OF_B * j)
                                    : (sums)_mm512_setzero_si512();
    for (int64_t w = 0; w < k; w++) {
        __m512i next[MOST_VECTORS];
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++)
            next[j] = _mm512_loadu_si512(b + w * ldb + LANES_OF_B * j);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
            for (int j = 0; j < vectors; j++)
                kept[i][j] = add_product(kept[i][j], a[i * lda + w], next[j]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++)
            _mm512_storeu_si512(c + i * ldc + LANES_OF_B * j, (__m512i)kept[i][j]);
}

#define TILE_CASE(rows, vectors)                                       \
    case 8 * (rows) + (vectors):                                       \
        tile(rows, vectors, a, lda, b, ldb, k, c, ldc, accumulate);    \
        break;
#define TILE_CASES(rows) \
    TILE_CASE(rows, 1) TILE_CASE(rows, 2) TILE_CASE(rows, 3) TILE_CASE(rows, 4)

static void any_tile(int rows, int vectors, const uint32_t *a, int64_t lda, const uint32_t *b,
                     int64_t ldb, int64_t k, sum *c, int64_t ldc, int accumulate)
{
    switch (8 * rows + vectors) {
        TILE_CASES(1) TILE_CASES(2) TILE_CASES(3) TILE_CASES(4) TILE_CASES(5)
    }
}

static void product(const uint32_t *a, int64_t lda, int64_t m, const uint32_t *b, int64_t ldb,
                    int64_t k, sum *c, int64_t ldc, int64_t n, int accumulate)
{
    for (int64_t j = 0; j < n; j += MOST_VECTORS * LANES_OF_B)
        for (int64_t i = 0; i < m; i += MOST_ROWS) {
            int rows = m - i < MOST_ROWS ? (int)(m - i) : MOST_ROWS;
            int64_t left = (n - j) / LANES_OF_B;
            any_tile(rows, left < MOST_VECTORS ? (int)left : MOST_VECTORS, a + i * lda, lda, b + j,
                     ldb, k, c + i * ldc + j, ldc, accumulate);
        }
}
#endif
