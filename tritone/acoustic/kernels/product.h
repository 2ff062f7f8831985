/* c (m, n) float32 = a (m, k) . b (k, n), or added to it, of words of 32 bits: floats, or pairs of
 * bfloat16. n is a multiple of 16; strides are in words.
 *
 * With tiles m is filled up to TILE_ROWS and k to 16, and what a and c have there is read and
 * written too.
 */
#include <immintrin.h>
#include <stdint.h>

#ifdef TRITONE_AMX
#include <sys/syscall.h>
#include <unistd.h>

enum { TOGETHER = 64, TILE_ROWS = 32, TILE = 16, TILES = 8 };

/* The layout that the processor reads: 64 bytes. */
struct tiles {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

static _Thread_local struct tiles others;

/* oneDNN keeps its own tiles from call to call and would not notice others: they are put back. */
static void begin_products(void)
{
    struct tiles ours = {.palette = 1};
    for (int i = 0; i < TILES; i++) {
        ours.bytes[i] = 64;
        ours.rows[i] = TILE;
    }
    _tile_storeconfig(&others);
    _tile_loadconfig(&ours);
}

static void end_products(void) { _tile_loadconfig(&others); }

/* Whether the system lets this process use tiles; 0 if so. */
int tritone_prepare(void)
{
    enum { ASK_PERMISSION = 0x1023, TILE_DATA = 18 };
    return (int)syscall(SYS_arch_prctl, ASK_PERMISSION, TILE_DATA);
}

#define LOAD_OR_ZERO(tile, at, stride)        \
    do {                                      \
        if (accumulate)                       \
            _tile_loadd(tile, at, stride);    \
        else                                  \
            _tile_zero(tile);                 \
    } while (0)

/* Two tiles of a by two of b, or by one. */
static void product(const uint32_t *a, int64_t lda, int64_t m, const uint32_t *b, int64_t ldb,
                    int64_t k, float *c, int64_t ldc, int64_t n, int accumulate)
{
    for (int64_t i = 0; i < m; i += 2 * TILE)
        for (int64_t j = 0; j < n; j += 2 * TILE) {
            float *at = c + i * ldc + j, *below = at + TILE * ldc;
            const int wide = n - j > TILE;
            LOAD_OR_ZERO(0, at, 4 * ldc);
            LOAD_OR_ZERO(2, below, 4 * ldc);
            if (wide) {
                LOAD_OR_ZERO(1, at + TILE, 4 * ldc);
                LOAD_OR_ZERO(3, below + TILE, 4 * ldc);
            }
            for (int64_t w = 0; w < k; w += TILE) {
                _tile_loadd(4, a + i * lda + w, 4 * lda);
                _tile_loadd(5, a + (i + TILE) * lda + w, 4 * lda);
                _tile_loadd(6, b + w * ldb + j, 4 * ldb);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(2, 5, 6);
                if (wide) {
                    _tile_loadd(7, b + w * ldb + j + TILE, 4 * ldb);
                    _tile_dpbf16ps(1, 4, 7);
                    _tile_dpbf16ps(3, 5, 7);
                }
            }
            _tile_stored(0, at, 4 * ldc);
            _tile_stored(2, below, 4 * ldc);
            if (wide) {
                _tile_stored(1, at + TILE, 4 * ldc);
                _tile_stored(3, below + TILE, 4 * ldc);
            }
        }
}
#else
enum { TOGETHER = 50, TILE_ROWS = 1, MOST_ROWS = 5, MOST_VECTORS = 4, LANE_COUNT = 16 };

static void begin_products(void) {}
static void end_products(void) {}
int tritone_prepare(void) { return 0; }

/* Products of a word of a, in all lanes, with 16 of b. */
static inline __m512 add_product(__m512 sum, uint32_t a, __m512i b)
{
    const __m512i everywhere = _mm512_set1_epi32((int)a);
#ifdef TRITONE_BF16
    return _mm512_dpbf16_ps(sum, (__m512bh)everywhere, (__m512bh)b);
#else
    return _mm512_fmadd_ps((__m512)everywhere, (__m512)b, sum);
#endif
}

/* `rows` and `vectors` are constants where it is called: sums stay in registers. */
static inline __attribute__((always_inline)) void
tile(const int rows, const int vectors, const uint32_t *a, int64_t lda, const uint32_t *b,
     int64_t ldb, int64_t k, float *c, int64_t ldc, int accumulate)
{
    __m512 sums[MOST_ROWS][MOST_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++)
            sums[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + LANE_COUNT * j)
                                    : _mm512_setzero_ps();
    for (int64_t w = 0; w < k; w++) {
        __m512i next[MOST_VECTORS];
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++)
            next[j] = _mm512_loadu_si512(b + w * ldb + LANE_COUNT * j);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
            for (int j = 0; j < vectors; j++)
                sums[i][j] = add_product(sums[i][j], a[i * lda + w], next[j]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++)
            _mm512_storeu_ps(c + i * ldc + LANE_COUNT * j, sums[i][j]);
}

#define TILE_CASE(rows, vectors)                                       \
    case 8 * (rows) + (vectors):                                       \
        tile(rows, vectors, a, lda, b, ldb, k, c, ldc, accumulate);    \
        break;
#define TILE_CASES(rows) \
    TILE_CASE(rows, 1) TILE_CASE(rows, 2) TILE_CASE(rows, 3) TILE_CASE(rows, 4)

static void any_tile(int rows, int vectors, const uint32_t *a, int64_t lda, const uint32_t *b,
                     int64_t ldb, int64_t k, float *c, int64_t ldc, int accumulate)
{
    switch (8 * rows + vectors) {
        TILE_CASES(1) TILE_CASES(2) TILE_CASES(3) TILE_CASES(4) TILE_CASES(5)
    }
}

static void product(const uint32_t *a, int64_t lda, int64_t m, const uint32_t *b, int64_t ldb,
                    int64_t k, float *c, int64_t ldc, int64_t n, int accumulate)
{
    for (int64_t j = 0; j < n; j += MOST_VECTORS * LANE_COUNT)
        for (int64_t i = 0; i < m; i += MOST_ROWS) {
            int rows = m - i < MOST_ROWS ? (int)(m - i) : MOST_ROWS;
            int64_t left = (n - j) / LANE_COUNT;
            any_tile(rows, left < MOST_VECTORS ? (int)left : MOST_VECTORS, a + i * lda, lda, b + j,
                     ldb, k, c + i * ldc + j, ldc, accumulate);
        }
}
#endif
