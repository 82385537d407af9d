// What this machine's memory gives: the plainest copies and reads, over threads. Called by floors.mjs.

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

typedef float vec __attribute__((vector_size(32), aligned(4)));
enum { MEMCPY, VECTOR, STREAM, READ };
enum { MAX_THREADS = 256 };

typedef struct {
  int kind;
  char *dst;
  const char *src;
  size_t bytes;
  float sum;
} part;

static void copy_vector(char *d, const char *s, size_t n) {
  for (size_t i = 0; i + 128 <= n; i += 128) {
    const vec a = *(const vec *)(s + i), b = *(const vec *)(s + i + 32);
    const vec c = *(const vec *)(s + i + 64), e = *(const vec *)(s + i + 96);
    *(vec *)(d + i) = a;
    *(vec *)(d + i + 32) = b;
    *(vec *)(d + i + 64) = c;
    *(vec *)(d + i + 96) = e;
  }
}

#if defined(__SSE2__)
static void copy_stream(char *d, const char *s, size_t n) {
#if defined(__AVX__)
  for (size_t i = 0; i + 64 <= n; i += 64) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)(s + i));
    const __m256i b = _mm256_loadu_si256((const __m256i *)(s + i + 32));
    _mm256_stream_si256((__m256i *)(d + i), a);
    _mm256_stream_si256((__m256i *)(d + i + 32), b);
  }
#else
  for (size_t i = 0; i + 16 <= n; i += 16)
    _mm_stream_si128((__m128i *)(d + i), _mm_loadu_si128((const __m128i *)(s + i)));
#endif
  _mm_sfence();
}
#endif

static float read_all(const char *s, size_t n) {
  vec a[8] = {{0}};
  for (size_t i = 0; i + 256 <= n; i += 256)
    for (int k = 0; k < 8; k++) a[k] += *(const vec *)(s + i + 32 * k);
  for (int k = 1; k < 8; k++) a[0] += a[k];
  float sum = 0;
  for (int k = 0; k < 8; k++) sum += a[0][k];
  return sum;
}

static void *work(void *p) {
  part *w = p;
  switch (w->kind) {
    case MEMCPY: memcpy(w->dst, w->src, w->bytes); break;
    case VECTOR: copy_vector(w->dst, w->src, w->bytes); break;
#if defined(__SSE2__)
    case STREAM: copy_stream(w->dst, w->src, w->bytes); break;
#endif
    default: w->sum = read_all(w->src, w->bytes);
  }
  return 0;
}

// Memory that begins a page, as non-temporal stores want it, written once so that it is there.
void *floors_alloc(double bytes) {
  void *p = 0;
  if (posix_memalign(&p, 4096, (size_t)bytes)) return 0;
  memset(p, 1, (size_t)bytes);
  return p;
}

// Whether non-temporal stores are there.
int floors_has_stream(void) {
#if defined(__SSE2__)
  return 1;
#else
  return 0;
#endif
}

// Does `kind` over `bytes` (a multiple of 4096 times the threads) with `threads`; the sum of a READ, so that it is done.
double floors_run(int kind, void *dst, const void *src, double bytes, int threads) {
  static part parts[MAX_THREADS];
  pthread_t ids[MAX_THREADS];
  char started[MAX_THREADS];
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  const size_t each = (size_t)bytes / threads;
  for (int t = threads - 1; t >= 0; t--) {
    parts[t] = (part){kind, (char *)dst + (dst ? t * each : 0), (const char *)src + t * each, each, 0};
    started[t] = t > 0 && pthread_create(&ids[t], 0, work, &parts[t]) == 0;
    if (!started[t]) work(&parts[t]);
  }
  double sum = 0;
  for (int t = 0; t < threads; t++) {
    if (started[t]) pthread_join(ids[t], 0);
    sum += parts[t].sum;
  }
  return sum;
}
