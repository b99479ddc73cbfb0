// ort times a model in ONNX Runtime: ort LIBRARY MODEL THREADS i:NAME:DIMS… o:NAME:DIMS…
//
// The arguments after THREADS are the model's inputs and outputs, all of float32, DIMS as in 1,3,48,320.
// For every line "N" on standard input it runs the model N times and prints the nanoseconds that
// took; for a line "y" it prints the first output's elements. The C API's header is not part of the
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

static float *tensor(char *dims, void *memory, void **value, int64_t *count) {
	int64_t shape[8];
	int n = 0;
	*count = 1;
	for (char *d = strtok(dims, ","); d && n < 8; d = strtok(NULL, ",")) *count *= shape[n++] = atoll(d);
	float *data = aligned_alloc(64, (*count * sizeof(float) + 63) / 64 * 64);
	for (int64_t i = 0; i < *count; i++) data[i] = (float)(i * 7 % 13) / 13 - 0.5f;
	CALL(49, (void *, void *, size_t, const int64_t *, size_t, int, void **),
		memory, data, *count * sizeof(float), shape, n, 1 /* float */, value);
	return data;
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
	float *first = NULL;
	int64_t elements = 0, count;
	for (int k = 4; k < argc && ins < MOST && outs < MOST; k++) {
		char *name = argv[k] + 2, *dims = strrchr(name, ':');
		*dims++ = 0;
		if (argv[k][0] == 'i') {
			in_names[ins] = name;
			tensor(dims, memory, &in[ins++], &count);
		} else {
			out_names[outs] = name;
			float *data = tensor(dims, memory, &out[outs++], &count);
			if (!first) first = data, elements = count;
		}
	}

	printf("%s\n", base->GetVersionString());
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof line, stdin)) {
		if (line[0] == 'y') {
			for (int64_t i = 0; i < elements; i++) printf("%.9g ", first[i]);
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
