// The C runtime of the chip, as text: memory, loading of kernels, and a pool of threads that runs a grid. Compiled once
// per machine like a kernel. It keeps no globals, so any number of pools (one per driver) can share one process.

/** Byte offsets and slots of `struct launch`, the block that the driver fills for each launch. */
export const LAUNCH = {
  /** Slot of the executable's address. */
  executable: 0,
  /** Slot of the number of programs. */
  programs: 1,
  /** Slot where the kernel's own argument block starts. */
  args: 2,
  /** Parameters that fit. */
  maxParams: 250,
  slots: 256,
} as const;

/**
 * What calling the other threads costs, in nanoseconds: while they watch; and until a sleeping one runs, beyond the
 * wake call itself, which is measured (5 us on bare metal, 50 us in some virtual machines).
 */
const AWAKE_NS = 2_000;
const ASLEEP_NS = 10_000;
/** Pools of more threads than this leave it to the system where each one runs. */
const MOST_PLACED = 16;
/** How long the shortest chunk of a launch takes, where there are enough programs. */
const CHUNK_NS = 2_000;
/**
 * How long a thread watches for the next launch before it sleeps: what the short launches of a layer's attention take, which the caller
 * runs alone. In a virtual machine a processor that sleeps is given away, and is back late. After the first part of that time others
 * who want the processor have it first.
 */
const WATCH_NS = 200_000;
const ALONE_NS = 40_000;

export const POOL_C = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

typedef void (*kernel)(const int64_t *args, char *frame, int64_t begin, int64_t end);

struct executable {
  kernel run;
  int64_t frame_bytes;
  double ns; /* time of one program as last measured; 0: never */
};

struct thread {
  struct pool *pool;
  char *frame;
  int64_t frame_bytes;
  pthread_t id;
} __attribute__((aligned(64)));

struct pool {
  int64_t launch[${LAUNCH.slots}]; /* see LAUNCH: filled by the driver */
  int threads, started, stop;
  double wake_ns; /* what waking the others costs the caller, as measured */
  int watch; /* there are cores enough for threads that wait awake */
  int apart; /* the processor that the other threads are kept off; -1: none */
  struct thread *thread; /* 0 is the caller */
  /* The running job; written while it is closed and nobody is inside. */
  kernel run;
  int64_t programs, chunk; /* the least that a thread takes */
  int64_t next __attribute__((aligned(64)));
  uint32_t open __attribute__((aligned(64))); /* threads may enter the job */
  uint32_t inside;                            /* threads that may be touching it */
  uint32_t ticket __attribute__((aligned(64))); /* counts jobs; threads sleep on it */
  uint32_t sleepers;
  uint32_t waiting; /* the caller sleeps on inside */
#ifndef __linux__
  pthread_mutex_t mutex;
  pthread_cond_t changed;
#endif
  char error[512];
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Sleeps while *word == value; may return early. */
static void wait_on(struct pool *p, uint32_t *word, uint32_t value) {
#ifdef __linux__
  (void)p;
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, 0, 0, 0);
#else
  pthread_mutex_lock(&p->mutex);
  if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) pthread_cond_wait(&p->changed, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
#endif
}

static void wake(struct pool *p, uint32_t *word) {
#ifdef __linux__
  (void)p;
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, 0, 0, 0);
#else
  (void)word;
  pthread_mutex_lock(&p->mutex);
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->mutex);
#endif
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Takes chunks of the open job until none is left: large ones first, and ever smaller ones, so that all threads end together
   though some are slower or were interrupted. */
static void work(struct pool *p, struct thread *self) {
  int64_t begin = __atomic_load_n(&p->next, __ATOMIC_RELAXED);
  for (;;) {
    int64_t end;
    do {
      if (begin >= p->programs) return;
      const int64_t share = (p->programs - begin) / (p->threads * 4);
      end = begin + (share > p->chunk ? share : p->chunk);
      if (end > p->programs) end = p->programs;
    } while (!__atomic_compare_exchange_n(&p->next, &begin, end, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    p->run(p->launch + ${LAUNCH.args}, self->frame, begin, end);
    begin = __atomic_load_n(&p->next, __ATOMIC_RELAXED);
  }
}

static void *thread_main(void *arg) {
  struct thread *self = arg;
  struct pool *p = self->pool;
  uint32_t seen = 0;
  for (;;) {
    double until = 0;
    for (unsigned turns = 1; __atomic_load_n(&p->ticket, __ATOMIC_ACQUIRE) == seen; turns++) {
      if (p->watch && turns % 64) {
        relax();
        continue;
      }
      if (p->watch) {
        const double now = now_ns();
        if (!until) until = now + ${WATCH_NS};
        if (until - now < ${WATCH_NS - ALONE_NS}) sched_yield();
        if (now < until) continue;
      }
      __atomic_fetch_add(&p->sleepers, 1, __ATOMIC_SEQ_CST);
      wait_on(p, &p->ticket, seen);
      __atomic_fetch_sub(&p->sleepers, 1, __ATOMIC_SEQ_CST);
    }
    seen = __atomic_load_n(&p->ticket, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) return 0;
    /* Enter, then look: the caller closes, then looks for who is inside. One of the two sees the other. */
    __atomic_fetch_add(&p->inside, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&p->open, __ATOMIC_SEQ_CST)) work(p, self);
    if (__atomic_sub_fetch(&p->inside, 1, __ATOMIC_SEQ_CST) == 0 && __atomic_load_n(&p->waiting, __ATOMIC_SEQ_CST))
      wake(p, &p->inside);
  }
}

/* Large pages, where the system likes: tables of small ones are looked up at each of the strides of a matrix, and in a virtual
   machine whose host gives memory as it is touched a small page costs 20 us and more when it is first written to, a large one
   that holds 512 of them 200 us. No small pages at the end. */
#define LARGE_PAGE (2ll << 20)

static void *reserve(int64_t bytes, int large) {
  void *at;
  if (large) bytes = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
  if (posix_memalign(&at, large ? LARGE_PAGE : 64, bytes)) return 0;
#ifdef MADV_HUGEPAGE
  if (large) madvise(at, bytes, MADV_HUGEPAGE);
#endif
  return at;
}

/* Packed tiles of several 100 KiB take a large page, too: there is one frame for each thread. */
static int grow_frame(struct thread *t, int64_t bytes) {
  if (bytes <= t->frame_bytes) return 1;
  free(t->frame);
  t->frame = 0;
  t->frame_bytes = 0;
  const int64_t unit = bytes > (256 << 10) ? LARGE_PAGE : 4096;
  bytes = (bytes + unit - 1) / unit * unit;
  t->frame = reserve(bytes, unit == LARGE_PAGE);
  if (!t->frame) return 0;
  t->frame_bytes = bytes;
  return 1;
}

static int start_thread(pthread_t *id, void *(*run)(void *), void *arg) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for Node's own threads */
  /* Node unloads libraries when it ends, whoever runs in them; this one stays for its threads. */
  Dl_info self;
  if (dladdr((void *)run, &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
  const int failed = pthread_create(id, 0, run, arg);
  pthread_sigmask(SIG_SETMASK, &old, 0);
  return failed;
}

/* Starts the threads at the first launch that needs them; without rights for more, it makes do with what there is. */
static void start(struct pool *p) {
  while (p->started < p->threads) {
    struct thread *t = &p->thread[p->started];
    t->pool = p;
    if (start_thread(&t->id, thread_main, t)) {
      p->threads = p->started;
      break;
    }
    p->started++;
  }
}

/* Keeps the other threads off the processor of the caller. Linux does not always: where it knows of no cache that processors
   share, as in some virtual machines, a thread wakes where it last ran, though the caller now works there and other
   processors are idle; the two then take turns. */
static void keep_apart(struct pool *p) {
#ifdef __linux__
  const int here = sched_getcpu();
  if (!p->watch || here < 0 || here == p->apart || p->threads > ${MOST_PLACED}) return;
  cpu_set_t others;
  if (sched_getaffinity(0, sizeof others, &others) || !CPU_ISSET(here, &others)) return;
  CPU_CLR(here, &others);
  if (CPU_COUNT(&others) < p->threads - 1) return;
  for (int i = 1; i < p->started; i++) pthread_setaffinity_np(p->thread[i].id, sizeof others, &others);
  p->apart = here;
#else
  (void)p;
#endif
}

static int parallel(struct pool *p, struct executable *e, int64_t first, int64_t programs) {
  for (int i = 1; i < p->threads; i++)
    if (!grow_frame(&p->thread[i], e->frame_bytes)) return 0;
  if (p->started < p->threads) start(p);
  keep_apart(p);
  p->run = e->run;
  p->programs = programs;
  /* The least chunk: what taking one costs must not show, and each thread has some to take. */
  const int64_t share = (programs - first) / (p->threads * 8), least = e->ns > 0 ? (int64_t)(${CHUNK_NS} / e->ns) : share;
  p->chunk = share < least ? share : least;
  if (p->chunk < 1) p->chunk = 1;
  __atomic_store_n(&p->next, first, __ATOMIC_RELAXED);
  __atomic_store_n(&p->open, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&p->ticket, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&p->sleepers, __ATOMIC_SEQ_CST)) {
    const double t0 = now_ns();
    wake(p, &p->ticket);
    const double more = now_ns() - t0 - p->wake_ns;
    /* Down at once, up slowly: a high value is likely somebody else's turn on this core. */
    p->wake_ns += more < 0 ? more * 0.5 : (more < 2e4 ? more : 2e4) * 0.1;
  }
  work(p, &p->thread[0]);
  __atomic_store_n(&p->open, 0, __ATOMIC_SEQ_CST);
  /* Those inside finish their last chunks; who has not come yet finds the job closed. */
  for (int turns = 0; __atomic_load_n(&p->inside, __ATOMIC_SEQ_CST); turns++) {
    if (turns < 2000) {
      relax();
      continue;
    }
    __atomic_store_n(&p->waiting, 1, __ATOMIC_SEQ_CST);
    uint32_t n = __atomic_load_n(&p->inside, __ATOMIC_SEQ_CST);
    if (n) wait_on(p, &p->inside, n);
    __atomic_store_n(&p->waiting, 0, __ATOMIC_SEQ_CST);
  }
  return 1;
}

/* Whether this much work is done sooner with the help of the others. */
static int worth_calling(struct pool *p, double ns) {
  const int awake = p->watch && p->started > 1 && !__atomic_load_n(&p->sleepers, __ATOMIC_RELAXED);
  const double saved = ns - ns / p->threads;
  if (awake) return saved > ${AWAKE_NS};
  if (saved > ${ASLEEP_NS} + p->wake_ns) return 1;
  p->wake_ns *= 0.99; /* what was measured once is tried again some time */
  return 0;
}

/* Runs the launch block. 0: done; 1: no memory for the kernel's scratch. */
int vexil_launch(struct pool *p) {
  struct executable *e = (struct executable *)p->launch[${LAUNCH.executable}];
  const int64_t programs = p->launch[${LAUNCH.programs}];
  const int64_t *args = p->launch + ${LAUNCH.args};
  if (programs <= 0) return 0;
  struct thread *self = &p->thread[0];
  if (!grow_frame(self, e->frame_bytes)) return 1;
  if (p->threads == 1 || programs == 1) {
    e->run(args, self->frame, 0, programs);
    return 0;
  }
  if (e->ns > 0 && worth_calling(p, e->ns * programs)) {
    const double t0 = now_ns();
    if (!parallel(p, e, 0, programs)) return 1;
    /* Time times threads bounds the work from above, so the estimate may only sink. If it sinks too far, the way below
       finds out. */
    const double ns = (now_ns() - t0) * p->threads / programs;
    if (ns < e->ns) e->ns = e->ns * 0.75 + ns * 0.25;
    return 0;
  }
  /* Alone, in growing pieces, until it is plain that help would pay. */
  const double t0 = now_ns();
  int64_t done = 0, piece = 1;
  while (done < programs) {
    int64_t end = done + piece < programs ? done + piece : programs;
    e->run(args, self->frame, done, end);
    done = end;
    const double spent = now_ns() - t0;
    e->ns = spent / done;
    if (programs - done > 1 && spent > 1000 && worth_calling(p, e->ns * (programs - done)))
      return !parallel(p, e, done, programs);
    piece *= 2;
  }
  return 0;
}

struct pool *vexil_open(int threads) {
  struct pool *p;
  if (posix_memalign((void **)&p, 64, sizeof *p)) return 0;
  memset(p, 0, sizeof *p);
  p->threads = threads < 1 ? 1 : threads;
  p->started = 1;
  p->apart = -1;
  p->watch = sysconf(_SC_NPROCESSORS_ONLN) >= threads;
  if (posix_memalign((void **)&p->thread, 64, sizeof(struct thread) * p->threads)) {
    free(p);
    return 0;
  }
  memset(p->thread, 0, sizeof(struct thread) * p->threads);
  p->thread[0].pool = p;
#ifndef __linux__
  pthread_mutex_init(&p->mutex, 0);
  pthread_cond_init(&p->changed, 0);
#endif
  return p;
}

void vexil_close(struct pool *p) {
  __atomic_store_n(&p->stop, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&p->ticket, 1, __ATOMIC_SEQ_CST);
  wake(p, &p->ticket);
  for (int i = 1; i < p->started; i++) pthread_join(p->thread[i].id, 0);
  for (int i = 0; i < p->threads; i++) free(p->thread[i].frame);
#ifndef __linux__
  pthread_cond_destroy(&p->changed);
  pthread_mutex_destroy(&p->mutex);
#endif
  free(p->thread);
  free(p);
}

const char *vexil_error(struct pool *p) { return p->error; }

/* Loads a compiled kernel; 0 if that fails, with the reason in vexil_error. */
struct executable *vexil_load(struct pool *p, const char *path, int64_t frame_bytes) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *run = library ? dlsym(library, "run") : 0;
  struct executable *e = run ? malloc(sizeof *e) : 0;
  if (!e) {
    const char *why = library && run ? "out of memory" : dlerror();
    snprintf(p->error, sizeof p->error, "%s", why ? why : "unknown error");
    return 0;
  }
  e->run = (kernel)run;
  e->frame_bytes = frame_bytes;
  e->ns = 0;
  return e;
}

/* 64-byte aligned memory; 0: none left. */
void *vexil_alloc(int64_t bytes) { return reserve(bytes, bytes >= LARGE_PAGE / 2); }

void vexil_free(void *at) { free(at); }

/* Linux saves the registers of AMX (state 18) for those alone who ask (ARCH_REQ_XCOMP_PERM). */
int vexil_tiles(void) {
#if defined __linux__ && defined __x86_64__
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return 0;
#endif
}
void vexil_copy(void *to, const void *from, int64_t bytes) { memmove(to, from, bytes); }
`;
