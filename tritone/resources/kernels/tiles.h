/* The matrix units of a processor with AMX, where TRITONE_AMX is defined; elsewhere there is nothing
 * to begin.
 */
#include <immintrin.h>
#include <stdint.h>

#ifdef TRITONE_AMX
#include <sys/syscall.h>
#include <unistd.h>

enum { TILE = 16, TILES = 8 };

/* The layout that the processor reads: 64 bytes. */
struct tiles {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

static _Thread_local struct tiles others;

#define SETTLED __asm__ volatile("" ::: "memory") /* what was stored is in memory */

/* oneDNN keeps its own tiles from call to call and would not notice others: they are put back. */
static void begin_products(void)
{
    struct tiles ours = {.palette = 1};
    for (int i = 0; i < TILES; i++) {
        ours.bytes[i] = 64;
        ours.rows[i] = TILE;
    }
    _tile_storeconfig(&others);
    SETTLED; /* some compilers do not know that all of the layout is read */
    _tile_loadconfig(&ours);
}

static void end_products(void) { _tile_loadconfig(&others); }

/* Whether the system lets this process use tiles; 0 if so. */
int tritone_prepare(void)
{
    enum { ASK_PERMISSION = 0x1023, TILE_DATA = 18 };
    return (int)syscall(SYS_arch_prctl, ASK_PERMISSION, TILE_DATA);
}
#else
static void begin_products(void) {}
static void end_products(void) {}
int tritone_prepare(void) { return 0; }
#endif
