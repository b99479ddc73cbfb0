// ort times a model in ONNX Runtime: ort LIBRARY MODEL THREADS i:NAME:DIMS… o:NAME:DIMS…
//
// The arguments after THREADS are the model's inputs and outputs, DIMS as in 1,3,48,320. They are of float32;
// iT:NAME:DIMS is an input of ONNX's element type T, of elements of at most 8 bytes. After an input, d:FILE says
// what its bytes are. For every line "N" on standard input it runs the model N times and prints the nanoseconds
// that took; for a line "y FILE" it writes the bytes of the first output there. The C API's header is not part of the
// packages that hold the library, so the few functions needed are called by their places in its table,
// which never change.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { void *const *(*GetApi)(uint32_t); const char *(*GetVersionString)(void); } ApiBase;

static void *const *api;

static void check(void *status, const char *what) {
	if (status) {
		fprintf(stderr, "%s: %s\n", what, ((const char *(*)(void *))api[2])(status));
		exit(1);
	}
}

#define CALL(place, types, ...) check(((void *(*) types)api[place])(__VA_ARGS__), #place)

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#define MOST 16

typedef struct { char *name; void *data, *value; size_t bytes; } Tensor;

// tensor is that of an argument.
static Tensor tensor(char *arg, void *memory) {
	// Bytes of the elements of types 1 (float32) to 16 (bfloat16); 0 for strings and complex numbers.
	static const unsigned char sizes[17] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 0, 0, 2};
	int64_t shape[8], count = 1;
	int n = 0, type = atoi(arg + 1);
	if (type == 0) type = 1;
	if (type > 16 || sizes[type] == 0) { fprintf(stderr, "%s: no such type\n", arg); exit(1); }
	Tensor t = {.name = strchr(arg, ':') + 1};
	char *dims = strrchr(t.name, ':');
	*dims++ = 0;
	for (char *d = strtok(dims, ","); d && n < 8; d = strtok(NULL, ",")) count *= shape[n++] = atoll(d);
	t.bytes = count * sizes[type];
	t.data = aligned_alloc(64, (t.bytes + 63) / 64 * 64);
	memset(t.data, 0, t.bytes);
	for (int64_t i = 0; type == 1 && i < count; i++) ((float *)t.data)[i] = (float)(i * 7 % 13) / 13 - 0.5f;
	CALL(49, (void *, void *, size_t, const int64_t *, size_t, int, void **),
		memory, t.data, t.bytes, shape, n, type, &t.value);
	return t;
}

// copy reads a tensor's bytes from a file or writes them there.
static void copy(const Tensor *t, const char *path, const char *mode) {
	FILE *f = fopen(path, mode);
	if (!f || (*mode == 'r' ? fread(t->data, 1, t->bytes, f) : fwrite(t->data, 1, t->bytes, f)) != t->bytes || fclose(f)) {
		perror(path);
		exit(1);
	}
}

int main(int argc, char **argv) {
	void *lib = dlopen(argv[1], RTLD_NOW);
	if (!lib) { fprintf(stderr, "%s\n", dlerror()); return 1; }
	const ApiBase *base = ((const ApiBase *(*)(void))dlsym(lib, "OrtGetApiBase"))();
	if (!(api = base->GetApi(16))) { fprintf(stderr, "no API 16\n"); return 1; }

	void *env, *options, *session, *memory;
	CALL(3, (int, const char *, void **), 3 /* errors */, "bench", &env);
	CALL(10, (void **), &options);
	CALL(24, (void *, int), options, atoi(argv[3]));
	CALL(25, (void *, int), options, 1);
	CALL(7, (void *, const char *, void *, void **), env, argv[2], options, &session);
	CALL(69, (int, int, void **), 1 /* arena */, 0 /* default */, &memory);

	const char *in_names[MOST], *out_names[MOST];
	void *in[MOST], *out[MOST];
	int ins = 0, outs = 0;
	Tensor last, first;
	for (int k = 4; k < argc && ins < MOST && outs < MOST; k++) {
		if (argv[k][0] == 'd') {
			copy(&last, argv[k] + 2, "r");
			continue;
		}
		last = tensor(argv[k], memory);
		if (argv[k][0] == 'i') {
			in_names[ins] = last.name;
			in[ins++] = last.value;
		} else {
			if (!outs) first = last;
			out_names[outs] = last.name;
			out[outs++] = last.value;
		}
	}

	printf("%s\n", base->GetVersionString());
	fflush(stdout);
	char line[4096];
	while (fgets(line, sizeof line, stdin)) {
		if (line[0] == 'y') {
			line[strcspn(line, "\n")] = 0;
			copy(&first, line + 2, "w");
			printf("\n");
		} else {
			int64_t start = now();
			for (int n = atoi(line); n > 0; n--)
				CALL(9, (void *, void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **),
					session, NULL, in_names, in, ins, out_names, outs, out);
			printf("%lld\n", (long long)(now() - start));
		}
		fflush(stdout);
	}
	return 0;
}
