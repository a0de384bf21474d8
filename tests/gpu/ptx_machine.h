/* What the C of `ptx_to_c.py` stands on: arithmetic, memory, and the loop over threads.

   With CHECKED every access is held to the arrays of the launch, element by element, and to its
   alignment, and two threads that meet at an element without a barrier between them are a race.
*/
#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))

/* -- arithmetic ------------------------------------------------------------------------------ */

INLINE float float_of32(uint32_t b) { float x; memcpy(&x, &b, 4); return x; }
INLINE double float_of64(uint64_t b) { double x; memcpy(&x, &b, 8); return x; }
INLINE uint32_t bits_of32(float x) { uint32_t b; memcpy(&b, &x, 4); return b; }
INLINE uint64_t bits_of64(double x) { uint64_t b; memcpy(&b, &x, 8); return b; }

#define is_unordered(a, b) __builtin_isunordered(a, b)

/* Of a number and a NaN the number; -0 is less than 0. */
#define EXTREMES(kind, type)                                                       \
  INLINE type min_##kind(type a, type b) {                                         \
    return a != a ? b : b != b ? a : a < b || (a == b && signbit(a)) ? a : b; }    \
  INLINE type max_##kind(type a, type b) {                                         \
    return a != a ? b : b != b ? a : a > b || (a == b && signbit(b)) ? a : b; }
EXTREMES(f32, float)
EXTREMES(f64, double)

INLINE int32_t to_s32(double x) {
  return x != x ? 0 : x >= 2147483648.0 ? INT32_MAX : x <= -2147483648.0 ? INT32_MIN : (int32_t)x;
}

INLINE float add_to_zero(float a, float b) {
  double s = (double)a + b, t = s - a, rest = (a - (s - t)) + (b - t);
  float f = (float)s;
  double above = (double)f - s;
  if (f != 0 && isfinite(f) && (f > 0 ? above > 0 || (above == 0 && rest < 0)
                                      : above < 0 || (above == 0 && rest > 0)))
    f = nextafterf(f, 0);
  return f;
}

/* An error of at most so many units in the last place, another for each argument: what the ISA
   leaves open for the approximations, so that nothing here depends on their being better. */
INLINE uint32_t mixed(uint32_t h) {
  h ^= h >> 16; h *= 0x7feb352du; h ^= h >> 15; h *= 0x846ca68bu; return h ^ h >> 16;
}

INLINE float off_by(float x, int ulps, uint32_t argument) {
  if (x == 0 || !isfinite(x)) return x;
  int error = (int)(mixed(argument) % (uint32_t)(2 * ulps + 1)) - ulps;
  uint32_t b = bits_of32(x), size = b & 0x7fffffffu;
  if (size <= 0x00800000u + (uint32_t)ulps || size >= 0x7f800000u - (uint32_t)ulps) return x;
  return float_of32(b + (uint32_t)error);
}

INLINE float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

INLINE float div_approx_f32(float a, float b) {
  if (fabsf(b) > 0x1p126f && isfinite(b)) return isinf(a) ? NAN : copysignf(0, a) * copysignf(1, b);
  return off_by(a / b, 2, bits_of32(a) * 31 + bits_of32(b));
}

INLINE float rcp_approx_ftz_f32(float a) {
  return flushed(off_by(1.0f / flushed(a), 1, bits_of32(a)));
}

INLINE float lg2_approx_f32(float a) {
  double exact = log2((double)a), sign = (int)(mixed(bits_of32(a)) % 3) - 1;
  if (!isfinite(exact)) return (float)exact;
  if (a > 0.5f && a < 2.0f) return (float)(exact + sign * 0x1p-22);
  return (float)(exact * (1 + sign * 0x1p-22));
}

/* Reads and gives the upper half of a float64. */
INLINE double rcp_approx_ftz_f64(double a) {
  const uint64_t upper = 0xffffffff00000000ull;
  double x = float_of64(bits_of64(a) & upper);
  if (fabs(x) < 0x1p-1022) x = copysign(0, x);
  double y = float_of64(bits_of64(1.0 / x) & upper);
  return fabs(y) < 0x1p-1022 ? copysign(0, y) : y;
}

/* -- memory ---------------------------------------------------------------------------------- */

/* Elements of an array: rows of `width` bytes, `stride` apart. A flag may be raised by many. Each
   `grain` of bytes, 2 or 4, has a shadow. */
struct array { uint64_t start, rows, width, stride, is_flag, grain; struct shadow *shadow; };

/* Who wrote and read the grain here: thread + 1, in which stretch between barriers. */
struct shadow { uint32_t writer, written, reader, when_read; uint8_t others, blocks; };

struct launch {
  const void *const *words;
  uint32_t grid[3], block[3];
  uint32_t order; /* 0: as numbered, 1: backwards, else: at random */
  uint32_t n_arrays;
  struct array *arrays;
  char *message; /* of 400 characters */
};

struct thread {
  const void *const *words;
  uint32_t tid_x, tid_y, tid_z, ntid_x, ntid_y, ntid_z;
  uint32_t ctaid_x, ctaid_y, ctaid_z, nctaid_x, nctaid_y, nctaid_z;
  uint32_t number, stretch, size; /* among all threads; since the launch; threads of a block */
  char *shared, *local;
  struct launch *launch;
  struct shadow *shared_shadow;
  jmp_buf *failed;
};

__attribute__((noreturn, noinline, cold, unused)) static void
fail(struct thread *at, const char *what, uint64_t address, int size) {
  snprintf(at->launch->message, 400, "%s: %d bytes at %#llx, block (%u, %u), thread (%u, %u)",
           what, size, (unsigned long long)address, at->ctaid_x, at->ctaid_y, at->tid_x, at->tid_y);
  longjmp(*at->failed, 1);
}

#define divisor(b)                                                                 \
  ({ __typeof__(b) d_ = (b); if (d_ == 0) fail(at, "division of integers by 0", 0, sizeof d_); d_; })

#ifdef CHECKED
__attribute__((noinline, unused)) static void
meet(struct thread *at, struct shadow *s, uint64_t address, int size, int grain, bool writes,
     bool same) {
  uint32_t me = at->number + 1, block = at->number / at->size;
  for (int k = 0; k < (size + grain - 1) / grain; k++, s++) {
    if (s->writer && s->writer != me && !(writes && same) &&
        ((s->writer - 1) / at->size != block || s->written == at->stretch))
      fail(at, writes ? "race: written by two threads" : "race: read while another thread writes",
           address, size);
    bool read_here = s->reader && s->when_read == at->stretch;
    if (writes) {
      if (size < grain) fail(at, "written in less than a grain", address, size);
      if (!same && ((read_here && (s->others || s->reader != me)) || s->blocks > 1 ||
          (s->reader && (s->reader - 1) / at->size != block)))
        fail(at, "race: written while another thread reads", address, size);
      s->writer = me; s->written = at->stretch;
    } else {
      s->others = read_here && (s->others || s->reader != me);
      s->blocks = !s->reader ? 1 : (s->reader - 1) / at->size != block ? 2 : s->blocks;
      s->reader = me; s->when_read = at->stretch;
    }
  }
}

__attribute__((noinline, unused)) static char *
place(struct thread *at, uint64_t address, int size, int align, bool writes, const void *value) {
  if (address % (uint64_t)size) fail(at, "address not aligned", address, size);
  for (uint32_t n = 0; n < at->launch->n_arrays; n++) {
    struct array *a = &at->launch->arrays[n];
    uint64_t from = address - a->start;
    if (from >= a->rows * a->stride || from % a->stride + (uint64_t)size > a->width) continue;
    if (a->shadow) {
      bool same = writes && a->is_flag && !memcmp((void *)address, value, (size_t)size);
      meet(at, a->shadow + from / a->grain, address, size, (int)a->grain, writes, same);
    }
    return (char *)address;
  }
  fail(at, writes ? "written outside of all arrays" : "read outside of all arrays", address, size);
}

INLINE char *inside(struct thread *at, char *memory, uint64_t bytes, uint64_t address, int size,
                    const char *what) {
  if (address % (uint64_t)size) fail(at, "address not aligned", address, size);
  if (address + (uint64_t)size > bytes || address > bytes) fail(at, what, address, size);
  return memory + address;
}

#define global_read(at, address, size, align) place(at, address, size, align, false, 0)
#define global_write(at, address, value, size, align)                              \
  memcpy(place(at, address, size, align, true, value), value, size)
#define shared_read(at, address, size, align)                                      \
  ({ uint64_t a_ = (address);                                                      \
     char *q_ = inside(at, at->shared, SHARED_BYTES, a_, size, "outside of shared memory"); \
     meet(at, at->shared_shadow + a_ / 4, a_, size, 4, false, false); q_; })
#define shared_write(at, address, value, size, align)                              \
  ({ uint64_t a_ = (address);                                                      \
     char *q_ = inside(at, at->shared, SHARED_BYTES, a_, size, "outside of shared memory"); \
     meet(at, at->shared_shadow + a_ / 4, a_, size, 4, true, false);                     \
     memcpy(q_, value, size); })
#define local_read(at, address, size, align)                                       \
  inside(at, at->local, LOCAL_BYTES, address, size, "outside of local memory")
#define local_write(at, address, value, size, align)                               \
  memcpy(inside(at, at->local, LOCAL_BYTES, address, size, "outside of local memory"), value, size)
#else
#define global_read(at, address, size, align) ((const char *)(address))
#define global_write(at, address, value, size, align) memcpy((char *)(address), value, size)
#define shared_read(at, address, size, align) (at->shared + (address))
#define shared_write(at, address, value, size, align) memcpy(at->shared + (address), value, size)
#define local_read(at, address, size, align) (at->local + (address))
#define local_write(at, address, value, size, align) memcpy(at->local + (address), value, size)
#endif

/* -- the loop over threads ------------------------------------------------------------------- */

static int run(struct thread *at, struct registers *kept, int resume);

static void arrange(uint32_t *numbers, uint32_t n, uint32_t order, uint32_t seed) {
  for (uint32_t k = 0; k < n; k++) numbers[k] = order == 1 ? n - 1 - k : k;
  for (uint32_t k = n; order > 1 && k > 1; k--) {
    uint32_t other = (seed = mixed(seed + k)) % k, held = numbers[k - 1];
    numbers[k - 1] = numbers[other]; numbers[other] = held;
  }
}

int launch(struct launch *l) {
  uint32_t size = l->block[0] * l->block[1] * l->block[2];
  uint32_t blocks = l->grid[0] * l->grid[1] * l->grid[2];
  struct registers *kept = calloc(size, sizeof *kept);
  char *shared = malloc(SHARED_BYTES + 16), *local = malloc((size_t)size * (LOCAL_BYTES + 16));
  struct shadow *shadow = calloc(SHARED_BYTES / 4 + 4, sizeof *shadow);
  uint32_t *order = malloc(4 * size), *block_order = malloc(4 * blocks);
  jmp_buf failed;
  volatile int bad = 0;
  struct thread at = {.words = l->words, .launch = l, .size = size, .shared = shared,
    .shared_shadow = shadow, .failed = &failed,
    .ntid_x = l->block[0], .ntid_y = l->block[1], .ntid_z = l->block[2],
    .nctaid_x = l->grid[0], .nctaid_y = l->grid[1], .nctaid_z = l->grid[2]};
  arrange(block_order, blocks, l->order, l->order);
  if (setjmp(failed)) { bad = 1; goto end; }
  for (uint32_t k = 0; k < blocks; k++) {
    uint32_t b = block_order[k];
    at.ctaid_x = b % l->grid[0];
    at.ctaid_y = b / l->grid[0] % l->grid[1];
    at.ctaid_z = b / l->grid[0] / l->grid[1];
    /* Nobody knows what is in there. */
    memset(shared, 0xff, SHARED_BYTES);
    memset(local, 0xff, (size_t)size * LOCAL_BYTES);
#ifdef CHECKED
    memset(shadow, 0, (SHARED_BYTES / 4 + 4) * sizeof *shadow);
#endif
    int resume = 0, next = 0;
    do {
      at.stretch++;
      arrange(order, size, l->order, l->order * 7919u + at.stretch);
      for (uint32_t m = 0; m < size; m++) {
        uint32_t t = order[m];
        at.tid_x = t % l->block[0];
        at.tid_y = t / l->block[0] % l->block[1];
        at.tid_z = t / l->block[0] / l->block[1];
        at.number = b * size + t;
        at.local = local + (size_t)t * LOCAL_BYTES;
        int reached = run(&at, kept + t, resume);
        if (m == 0) next = reached;
        else if (reached != next)
          fail(&at, "threads of a block wait at different barriers", (uint64_t)reached, next);
      }
      resume = next;
    } while (resume);
  }
end:
  free(kept); free(shared); free(local); free(shadow); free(order); free(block_order);
  return bad;
}
