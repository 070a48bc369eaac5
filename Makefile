# pop3d - a POP3 server for inetd and systemd.  GNU make.
#
#   make                              build everything into $(BUILD)
#   make DEVELOPER=1                  with -Werror and more warnings
#   make V=1                          shows the commands
#   make GSSAPI=yes                   with pop3d-gssapi (auto, yes, no), which needs Kerberos
#   make JWT=yes                      with pop3d-jwt (auto, yes, no), which needs jansson
#   make STATIC=no                    pop3d linked with shared libraries
#   make SANDBOX=no                   without filters of system calls, for valgrind and the like
#   make check                        unit and whole-program tests
#   make check SAN=address,undefined  the same under sanitizers
#   make fuzz FUZZ_S=60 [FUZZ=name]   every fuzz harness for so many seconds, FUZZ_JOBS at once
#   make demo, make serve             a session to look at, a server to try
#   make install PREFIX=/usr DESTDIR=/tmp/stage
VERSION    = 0.1
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
LIBEXECDIR ?= $(PREFIX)/libexec
SBINDIR    ?= $(PREFIX)/sbin
MANDIR     ?= $(PREFIX)/share/man
DOCDIR     ?= $(PREFIX)/share/doc/pop3d
UNITDIR    ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/site-functions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
DESTDIR    ?=
BUILD      ?= build$(if $(SAN),-san)
CC         ?= cc
CFLAGS     ?= -O2 -g
INSTALL    ?= install
HELPERDIR  = $(LIBEXECDIR)/pop3d

# A flag, where the compiler knows it without complaint.
try = $(shell $(CC) -Werror $(1) -x c -c -o /dev/null /dev/null 2>/dev/null && echo $(1))
# 3 where compiler and C library have it, else 2.
FORTIFY := $(or $(shell $(CC) -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -include features.h \
	 -x c -dM -E /dev/null 2>/dev/null | sed -n 's/^.define __USE_FORTIFY_LEVEL //p'),2)

WARN   = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	 -Wwrite-strings -Wformat=2 -Wvla -Wundef
ifdef DEVELOPER
WARN  += -Werror -Wcast-align -Wnull-dereference -Wdouble-promotion
endif
HARDEN := -fPIE -fstack-protector-strong -fvisibility=hidden $(call try,-fstack-clash-protection) \
	 $(or $(call try,-fcf-protection),$(call try,-mbranch-protection=standard)) \
	 $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(FORTIFY))
# Parts that a program does not use stay out of it; C needs no tables to unwind by.
SMALL  := -ffunction-sections -fdata-sections \
	 $(if $(SAN),,-fno-asynchronous-unwind-tables -fno-unwind-tables)
# Relocations of a bit each instead of 24 octets, where glibc (2.36) and linker know them.
RELR := $(shell echo 'int main(void) { return __GLIBC__ - 2; }' | $(CC) -pie -fPIE \
	 -include features.h -Wl,--fatal-warnings -Wl,-z,pack-relative-relocs -x c -o /dev/null - \
	 2>/dev/null && echo -Wl,-z,pack-relative-relocs)
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
ALL_CPPFLAGS = -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DSYSCONFDIR='"$(SYSCONFDIR)"' \
	 -DLIBEXECDIR='"$(LIBEXECDIR)"' $(if $(filter no,$(SANDBOX)),-DSANDBOX_OFF) -Ilib $(CPPFLAGS)
# COVERAGE=1, for tests/coverage/run: every program counts the lines that it runs.
ifdef COVERAGE
CFLAGS     = -O0 -g
COUNT     := --coverage -fprofile-abs-path -fprofile-update=atomic
COUNT_LD  := --coverage -Wl,--wrap=_exit,--wrap=fds_close_all_but,--wrap=setrlimit $(BUILD)/tests/coverage/keep.o
HARDEN    := $(filter-out -D_FORTIFY_SOURCE=%,$(HARDEN))
endif
ALL_CFLAGS = -std=gnu11 $(WARN) $(HARDEN) $(SMALL) $(SANFLAGS) $(COUNT) -MMD -MP $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed,--gc-sections $(RELR) $(SANFLAGS) $(COUNT_LD) $(LDFLAGS)
# Neither a sanitizer's own work nor the writing of counts would pass the filters of system calls.
SANDBOX   ?= $(if $(SAN)$(COVERAGE),no,yes)
# TLS_STATIC=yes: pop3d-tls alone is linked statically, for a faster start; no-pie: at a fixed
# address too, which needs no relocation and leaves 400 KiB a session to be shared.
TLS_STATIC ?=
TLS_LDFLAGS = $(if $(TLS_STATIC),$(if $(filter no-pie,$(TLS_STATIC)),-static -no-pie,-static-pie) \
	 $(filter-out -pie,$(ALL_LDFLAGS)),$(ALL_LDFLAGS))
# libcrypto first: of 5 000 names that are looked up at a start most are its own.
TLS_LIBS   = -lcrypto -lssl $(if $(TLS_STATIC),-lcrypto)
# pop3d itself is started for every client, and a static program starts a fifth cheaper; its libc is
# then bound before main, too, which `-z now` alone does not do.  STATIC=no for a dynamic one.
STATIC     ?= $(if $(SAN),no,$(shell echo 'int main(void) { return 0; }' | \
	 $(CC) -fPIE -static-pie -x c -o /dev/null - -lcrypt 2>/dev/null && echo yes || echo no))
STATIC     := $(STATIC)
POP3D_LDFLAGS = $(if $(filter yes,$(STATIC)),$(patsubst -pie,-static-pie,$(ALL_LDFLAGS)),$(ALL_LDFLAGS))
# JWT=yes: with pop3d-jwt, which needs jansson; auto: where that is there.
JWT        ?= auto
JANSSON    := $(if $(filter no,$(JWT)),,$(shell pkg-config --libs jansson 2>/dev/null || \
	 { $(CC) -include jansson.h -E -x c /dev/null >/dev/null 2>&1 && echo -ljansson; }))
ifeq ($(JWT)$(JANSSON),yes)
$(error JWT=yes: there is no jansson; install libjansson-dev, jansson-dev or jansson-devel)
endif
# GSSAPI=yes: with pop3d-gssapi, which needs MIT krb5 or Heimdal; auto: where that is there.
GSSAPI     ?= auto
KRB5       := $(if $(filter no,$(GSSAPI)),,$(shell pkg-config --libs krb5-gssapi krb5 2>/dev/null || \
	 pkg-config --libs heimdal-gssapi heimdal-krb5 2>/dev/null))
KRB5_FLAGS := $(if $(KRB5),$(shell pkg-config --cflags krb5-gssapi krb5 2>/dev/null || \
	 pkg-config --cflags heimdal-gssapi heimdal-krb5 2>/dev/null))
ifeq ($(GSSAPI)$(KRB5),yes)
$(error GSSAPI=yes: there is no Kerberos; install libkrb5-dev, krb5-dev or krb5-devel)
endif
CHECK_LIBS ?= $(or $(shell pkg-config --libs check 2>/dev/null),-lcheck) -lm

LIB_SRC    = $(sort $(wildcard lib/*.c))
ROLE_SRC   = pop3d/ipc.c pop3d/role.c pop3d/sandbox.c pop3d/sandbox_files.c
POP3D_SRC  = $(filter-out $(AUTH_ONLY),$(sort $(wildcard pop3d/main.c pop3d/mon_*.c \
	     pop3d/net_*.c pop3d/auth_*.c pop3d/drop_*.c pop3d/ver_*.c))) $(ROLE_SRC)
# The auth role once more, with the mechanisms that need libcrypto.
AUTH_ONLY  = $(sort $(wildcard $(patsubst %,pop3d/auth_%.c,main start secret scram cram apop)))
AUTH_SRC   = $(sort $(wildcard pop3d/auth_*.c)) $(ROLE_SRC)
DIGEST_SRC = $(sort $(wildcard pop3d/dig_*.c)) $(ROLE_SRC)
TLS_SRC    = $(sort $(wildcard pop3d/tls_*.c pop3d/key_*.c)) pop3d/algorithms.c $(ROLE_SRC)
GSS_SRC    = $(sort $(wildcard pop3d/gss_*.c)) pop3d/auth_start.c \
	     $(filter-out $(AUTH_ONLY),$(wildcard pop3d/auth_*.c)) $(ROLE_SRC)
JWT_SRC    = $(sort $(wildcard pop3d/jwt_*.c))
ADMIN_SRC  = $(sort $(wildcard pop3admin/*.c))
CHECK_SRC  = $(sort $(wildcard tests/unit/check_*.c))
# Harnesses are linked with what they need of every role, and with functions in the place of some.
FUZZ_SRC   = $(sort $(wildcard tests/fuzz/fuzz_*.c))
PARTS_SRC  = $(filter-out %_main.c pop3d/main.c pop3d/jwt_% pop3d/gss_%,$(sort $(wildcard pop3d/*.c)))

# One short line a command; V=1 shows it whole.
say = $(if $(V),,@printf '  %-3s %s\n' $(1) $(2); )
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB      = $(BUILD)/lib/libpop3.a
PROGRAMS = $(if $(wildcard pop3d/main.c),$(BUILD)/pop3d/pop3d) \
	   $(if $(wildcard pop3d/dig_*.c),$(BUILD)/pop3d/pop3d-digest) \
	   $(if $(wildcard pop3d/tls_*.c),$(BUILD)/pop3d/pop3d-tls) \
	   $(if $(AUTH_ONLY),$(BUILD)/pop3d/pop3d-auth) \
	   $(if $(wildcard pop3d/chk_*.c),$(BUILD)/pop3d/pop3d-checked) \
	   $(if $(JANSSON),$(BUILD)/pop3d/pop3d-jwt) \
	   $(if $(KRB5),$(BUILD)/pop3d/pop3d-gssapi) \
	   $(if $(ADMIN_SRC),$(BUILD)/pop3admin/pop3admin)
HELPERS  = $(filter $(BUILD)/pop3d/pop3d-%,$(PROGRAMS))
BENCH_BIN = $(patsubst %,$(BUILD)/tests/bench/%,launch client floor)
E2E_BIN  = $(BUILD)/tests/e2e/mbox_driver
E2E_SO   = $(BUILD)/tests/e2e/recorder.so
# The programs once more, for the tests alone, with hooks for failure and misuse; see hooks.h.
HOOK_SRC = $(sort $(wildcard tests/hooked/*.c))
HOOKED   = $(patsubst %,$(BUILD)/tests/hooked/%,pop3d pop3d-auth pop3d-digest pop3d-tls)
HOOK_OBJ = $(call obj,$(filter-out pop3d/ipc.c,$(1)) $(HOOK_SRC)) $(LIB)
HOOKS    = role_title fds_close_all_but execve posix_spawn malloc calloc realloc reallocarray strdup strndup \
	   mmap fork syscall socketpair memfd_create dup fdopendir open openat clock_gettime time \
	   net_run auth_run drop_run tls_run tls_check key_run
HOOK_LDFLAGS = $(addprefix -Wl$(comma)--wrap=,$(HOOKS))
comma   := ,
# What fails in turn in tests/unit/check_faults.c.
FAULTS   = malloc calloc realloc reallocarray posix_memalign mmap memfd_create fstat fstatat read write \
	   pread pwrite lseek fsync fdatasync ftruncate fallocate unlinkat renameat linkat mkdirat \
	   faccessat fdopendir readdir getrandom syscall fcntl
CHECKS   = $(patsubst %.c,$(BUILD)/%,$(CHECK_SRC))
FUZZERS  = $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))
# What gives a harness its inputs: libFuzzer, or one run of the corpus.
FUZZ_MAIN = $(if $(findstring fuzzer,$(SAN)),-fsanitize=fuzzer,$(BUILD)/tests/fuzz/replay.o)
FUZZ_S   ?= 60
FUZZ_JOBS ?= 1
MAN5     = $(sort $(wildcard man/*.5))
UNITS    = $(sort $(wildcard systemd/*.socket systemd/*.service systemd/*.slice systemd/*.timer))
DROP_INS = $(sort $(wildcard systemd/drop-ins/*.conf))
MAN7     = $(sort $(wildcard man/*.7))
MAN8     = $(sort $(wildcard man/*.8))

all: lib $(PROGRAMS)
$(PROGRAMS) $(CHECKS) $(FUZZERS) $(E2E_BIN) $(HOOKED): | $(if $(COVERAGE),$(BUILD)/tests/coverage/keep.o)
lib: $(LIB)
# compiled only: what can be checked where a library is missing
objects: $(LIB) $(call obj,$(sort $(POP3D_SRC) $(AUTH_SRC) $(DIGEST_SRC) $(TLS_SRC) $(wildcard pop3d/chk_*.c) $(ADMIN_SRC)))
unit: $(CHECKS) $(FUZZERS) $(E2E_BIN) $(E2E_SO) $(HOOKED)
fuzzers: $(FUZZERS)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# What was built with other flags is built again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(TLS_LDFLAGS)' | cmp -s - $@ || \
	 printf '%s\n' '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(TLS_LDFLAGS)' > $@

$(BUILD)/tests/coverage/keep.o: private COUNT =
$(BUILD)/tests/coverage/keep.o: private CPPFLAGS += -DCOVERAGE_DIR='"$(abspath $(BUILD))/gcda"'
$(LIB): $(call obj,$(LIB_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^

$(BUILD)/pop3d/pop3d: $(call obj,$(POP3D_SRC)) $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(POP3D_LDFLAGS) -o $@ $^ -lcrypt
$(BUILD)/pop3d/pop3d-digest: $(call obj,$(DIGEST_SRC)) $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypto
$(BUILD)/pop3d/pop3d-tls: $(call obj,$(TLS_SRC)) $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(TLS_LDFLAGS) -o $@ $^ $(TLS_LIBS)
$(BUILD)/pop3d/pop3d-auth: $(call obj,$(AUTH_SRC)) $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypt -lcrypto
$(BUILD)/pop3d/pop3d-checked: $(call obj,$(sort $(wildcard pop3d/chk_*.c)) pop3d/sandbox.c)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(if $(COVERAGE),$(LIB))
$(BUILD)/pop3d/pop3d-gssapi: $(call obj,$(GSS_SRC)) $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypt $(KRB5)
$(call obj,$(wildcard pop3d/gss_*.c)): private CFLAGS += $(KRB5_FLAGS)
$(BUILD)/pop3d/pop3d-jwt: $(call obj,$(JWT_SRC)) $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(JANSSON) -lcrypto -lm
# What waits for the kernel, or runs seldom, is made small; what walks over mail is not in here.
COLD_SRC = $(ADMIN_SRC) $(filter-out pop3d/net_io.c pop3d/net_list.c pop3d/net_retr.c pop3d/tls_conn.c \
	 pop3d/tls_relay.c pop3d/drop_% pop3d/ipc.c pop3d/sandbox.c,$(wildcard pop3d/*.c)) \
	$(foreach what,app_ certs conf credential date downgrade imported networks proxy saslprep \
	 scram secrets spec trash uidl_import user_ users_edit,$(wildcard lib/$(what)*.c))
$(call obj,$(COLD_SRC)): private CFLAGS += $(if $(SAN)$(COVERAGE),,-Os)
$(BUILD)/pop3admin/pop3admin: $(call obj,$(ADMIN_SRC)) $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypt -lcrypto
$(BUILD)/tests/hooked/pop3d: $(call HOOK_OBJ,$(POP3D_SRC))
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(POP3D_LDFLAGS) $(HOOK_LDFLAGS) -o $@ $^ -lcrypt
$(BUILD)/tests/hooked/pop3d-auth: $(call HOOK_OBJ,$(AUTH_SRC))
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(HOOK_LDFLAGS) -o $@ $^ -lcrypt -lcrypto
$(BUILD)/tests/hooked/pop3d-digest: $(call HOOK_OBJ,$(DIGEST_SRC))
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(HOOK_LDFLAGS) -o $@ $^ -lcrypto
$(BUILD)/tests/hooked/pop3d-tls: $(call HOOK_OBJ,$(TLS_SRC))
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(TLS_LDFLAGS) $(HOOK_LDFLAGS) -o $@ $^ $(TLS_LIBS)
$(BUILD)/tests/bench/conn.o: private CFLAGS += -O3
$(BUILD)/tests/bench/client: $(BUILD)/tests/bench/conn.o $(BUILD)/tests/bench/tls.o
$(BUILD)/tests/bench/client: private BENCH_LIBS = $(TLS_LIBS)
$(BENCH_BIN): $(BUILD)/%: $(BUILD)/%.o
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(BENCH_LIBS)
$(E2E_BIN): $(BUILD)/%: $(BUILD)/%.o $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypto
$(E2E_SO): $(BUILD)/%.so: %.c
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CPPFLAGS) -std=gnu11 $(WARN) $(CFLAGS) -fPIC -shared -o $@ $< -ldl
$(BUILD)/tests/unit/check_faults: private LDFLAGS += $(addprefix -Wl$(comma)--wrap=,$(FAULTS))
$(BUILD)/tests/unit/check_%: $(BUILD)/tests/unit/check_%.o $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(filter-out $<,$^) $(CHECK_LIBS) -lcrypt -lcrypto

$(BUILD)/pop3d/parts.a: $(call obj,$(PARTS_SRC))
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^
$(FUZZERS): $(BUILD)/tests/fuzz/replay.o $(BUILD)/tests/fuzz/fuzz.o
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/pop3d/parts.a $(LIB)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -Wl,-z,muldefs -o $@ $< $(FUZZ_MAIN) \
	 $(BUILD)/tests/fuzz/fuzz.o $(BUILD)/pop3d/parts.a $(LIB) -lcrypt $(TLS_LIBS)

# deps installs packages, so make may find more afterwards: hence the second make.
check:
	@tests/deps check
	@$(MAKE) --no-print-directory all unit
	@tests/run --build '$(BUILD)' $(TESTS)
# The table of clients in README.md; node-pop3 comes from the npm registry, below $(BUILD).
interop:
	@tests/deps check clients interop
	@$(MAKE) --no-print-directory all
	@npm install --silent --no-save --prefix '$(BUILD)/npm' node-pop3
	@NODE_PATH='$(abspath $(BUILD))/npm/node_modules' tests/interop --build '$(BUILD)'
demo serve:
	@tests/deps
	@$(MAKE) --no-print-directory -s all
	@tests/demo/demo --build '$(BUILD)' $@
# Needs root; BENCH="-q rate" and the like are options of tests/bench/run.
bench: all $(BENCH_BIN)
	@tests/bench/run -b '$(BUILD)' $(BENCH)
fuzz:
	@tests/deps fuzz
	@$(MAKE) --no-print-directory BUILD=build-fuzz CC=clang SAN=address,undefined,fuzzer-no-link fuzzers
	@tests/fuzz/run --build build-fuzz --seconds '$(FUZZ_S)' \
	 --at-once '$(FUZZ_JOBS)' $(FUZZ)
coverage:
	@tests/deps check
	@tests/coverage/run $(TESTS)
memcheck:
	@tests/deps check memcheck
	@$(MAKE) --no-print-directory unit
	@tests/memcheck --build '$(BUILD)' $(TESTS)
lint:
	@tests/lint
format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# Completion is what the built program prints; elsewhere than here: ADMIN=, a native one.
ADMIN ?= '$(BUILD)/pop3admin/pop3admin'
COMPLETIONS = '$(DESTDIR)$(BASHCOMPDIR)/pop3admin' '$(DESTDIR)$(ZSHCOMPDIR)/_pop3admin' \
	'$(DESTDIR)$(FISHCOMPDIR)/pop3admin.fish'
# The helpers' directory holds `empty`, the root directory of roles that need no file.
install: $(if $(NOBUILD),,all)
	$(INSTALL) -d -m 755 '$(DESTDIR)$(SBINDIR)' '$(DESTDIR)$(HELPERDIR)/empty' \
	  '$(DESTDIR)$(MANDIR)/man5' '$(DESTDIR)$(MANDIR)/man7' '$(DESTDIR)$(MANDIR)/man8' '$(DESTDIR)$(DOCDIR)' \
	  '$(DESTDIR)$(SYSCONFDIR)/pop3d'
	$(INSTALL) -m 755 $(filter-out $(HELPERS),$(PROGRAMS)) '$(DESTDIR)$(SBINDIR)'
	$(if $(HELPERS),$(INSTALL) -m 755 $(HELPERS) '$(DESTDIR)$(HELPERDIR)')
	$(if $(MAN5),$(INSTALL) -m 644 $(MAN5) '$(DESTDIR)$(MANDIR)/man5')
	$(if $(MAN7),$(INSTALL) -m 644 $(MAN7) '$(DESTDIR)$(MANDIR)/man7')
	$(if $(MAN8),$(INSTALL) -m 644 $(MAN8) '$(DESTDIR)$(MANDIR)/man8')
	$(INSTALL) -m 644 README.md DESIGN.md SECURITY.md CONTRIBUTING.md CHANGES.md LICENSE pop3d/pop3d.conf '$(DESTDIR)$(DOCDIR)'
	sed 's#@SBINDIR@#$(SBINDIR)#' packaging/pop3d-expire.cron > '$(DESTDIR)$(DOCDIR)/pop3d-expire.cron'
	chmod 644 '$(DESTDIR)$(DOCDIR)/pop3d-expire.cron'
	$(INSTALL) -d -m 755 '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSUSERSDIR)' '$(DESTDIR)$(TMPFILESDIR)'
	$(INSTALL) -m 644 $(filter-out %.service,$(UNITS)) '$(DESTDIR)$(UNITDIR)'
	for u in $(notdir $(filter %.service,$(UNITS))); do \
	  sed 's#@SBINDIR@#$(SBINDIR)#' systemd/$$u > '$(DESTDIR)$(UNITDIR)'/$$u || exit 1; \
	  chmod 644 '$(DESTDIR)$(UNITDIR)'/$$u || exit 1; done
	$(INSTALL) -m 644 systemd/pop3d.sysusers '$(DESTDIR)$(SYSUSERSDIR)/pop3d.conf'
	$(INSTALL) -m 644 systemd/pop3d.tmpfiles '$(DESTDIR)$(TMPFILESDIR)/pop3d.conf'
	$(INSTALL) -d -m 755 '$(DESTDIR)$(BASHCOMPDIR)' '$(DESTDIR)$(ZSHCOMPDIR)' '$(DESTDIR)$(FISHCOMPDIR)'
	$(ADMIN) completion bash > '$(DESTDIR)$(BASHCOMPDIR)/pop3admin'
	$(ADMIN) completion zsh > '$(DESTDIR)$(ZSHCOMPDIR)/_pop3admin'
	$(ADMIN) completion fish > '$(DESTDIR)$(FISHCOMPDIR)/pop3admin.fish'
	chmod 644 $(COMPLETIONS)
	$(INSTALL) -m 644 packaging/fail2ban/filter.conf '$(DESTDIR)$(DOCDIR)/fail2ban-filter.conf'
	$(INSTALL) -m 644 packaging/fail2ban/jail.conf '$(DESTDIR)$(DOCDIR)/fail2ban-jail.conf'
	$(INSTALL) -m 644 packaging/logcheck/pop3d '$(DESTDIR)$(DOCDIR)/logcheck-rules'
	$(INSTALL) -d -m 755 '$(DESTDIR)$(DOCDIR)/drop-ins'
	$(INSTALL) -m 644 $(DROP_INS) '$(DESTDIR)$(DOCDIR)/drop-ins'
uninstall:
	rm -f $(COMPLETIONS)
	rm -f $(foreach p,$(notdir $(filter-out $(HELPERS),$(PROGRAMS))),'$(DESTDIR)$(SBINDIR)/$(p)')
	rm -f $(foreach p,$(notdir $(HELPERS)),'$(DESTDIR)$(HELPERDIR)/$(p)')
	rm -f $(foreach p,$(notdir $(MAN5)),'$(DESTDIR)$(MANDIR)/man5/$(p)')
	rm -f $(foreach p,$(notdir $(MAN7)),'$(DESTDIR)$(MANDIR)/man7/$(p)')
	rm -f $(foreach p,$(notdir $(MAN8)),'$(DESTDIR)$(MANDIR)/man8/$(p)')
	rm -f $(foreach p,README.md DESIGN.md SECURITY.md CONTRIBUTING.md CHANGES.md LICENSE pop3d.conf \
	  pop3d-expire.cron fail2ban-filter.conf fail2ban-jail.conf logcheck-rules,'$(DESTDIR)$(DOCDIR)/$(p)')
	rm -f $(foreach p,$(notdir $(UNITS)),'$(DESTDIR)$(UNITDIR)/$(p)')
	rm -f $(foreach p,$(notdir $(DROP_INS)),'$(DESTDIR)$(DOCDIR)/drop-ins/$(p)')
	rm -f '$(DESTDIR)$(SYSUSERSDIR)/pop3d.conf' '$(DESTDIR)$(TMPFILESDIR)/pop3d.conf'
	-rmdir '$(DESTDIR)$(DOCDIR)/drop-ins' '$(DESTDIR)$(HELPERDIR)/empty' '$(DESTDIR)$(HELPERDIR)' '$(DESTDIR)$(DOCDIR)'
	-rmdir '$(DESTDIR)$(SYSCONFDIR)/pop3d' # where nobody has written anything there

dist:
	git archive --prefix=pop3d-$(VERSION)/ -o pop3d-$(VERSION).tar.gz HEAD
# The Debian package of HEAD, below $(BUILD)/deb; tests/deps package installs what it needs.
DEB = $(BUILD)/deb
deb:
	rm -rf '$(DEB)' && mkdir -p '$(DEB)'
	git archive --prefix=pop3d-$(VERSION)/ -o '$(DEB)/pop3d_$(VERSION).orig.tar.gz' HEAD
	tar -C '$(DEB)' -xf '$(DEB)/pop3d_$(VERSION).orig.tar.gz'
	cp -r '$(DEB)/pop3d-$(VERSION)/packaging/debian' '$(DEB)/pop3d-$(VERSION)/debian'
	cd '$(DEB)/pop3d-$(VERSION)' && env -u MAKEFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc $(DEBFLAGS)
# Needs root: builds that package and uses it in a booted systemd.
check-deb:
	@tests/deps package
	@tests/package '$(BUILD)'
clean:
	rm -rf build build-*/ pop3d-$(VERSION).tar.gz

FORCE:
.PHONY: all lib objects unit fuzzers check demo serve interop bench fuzz coverage memcheck lint format install uninstall dist deb check-deb clean FORCE
.SECONDARY:
-include $(patsubst %.o,%.d,$(call obj,$(LIB_SRC) $(POP3D_SRC) $(AUTH_ONLY) $(wildcard pop3d/chk_*.c) $(DIGEST_SRC) $(TLS_SRC) $(JWT_SRC) $(GSS_SRC) $(ADMIN_SRC) $(CHECK_SRC) $(FUZZ_SRC) tests/fuzz/fuzz.c tests/fuzz/replay.c $(HOOK_SRC) $(patsubst $(BUILD)/%,%.c,$(E2E_BIN))))
