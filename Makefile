# pop3d - a POP3 server for inetd and systemd.  GNU make.
#
#   make              build everything into $(BUILD)
#   make DEVELOPER=1  with -Werror and more warnings
#   make SAN=address,undefined check
VERSION    = 0.1
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
LIBEXECDIR ?= $(PREFIX)/libexec
SBINDIR    ?= $(PREFIX)/sbin
MANDIR     ?= $(PREFIX)/share/man
DESTDIR    ?=
BUILD      ?= build$(if $(SAN),-san)
CC         ?= cc
CFLAGS     ?= -O2 -g

WARN   = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	 -Wwrite-strings -Wformat=2 -Wvla -Wundef
ifdef DEVELOPER
WARN  += -Werror -Wcast-align -Wnull-dereference -Wdouble-promotion
endif
HARDEN = -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection \
	 -fvisibility=hidden $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(FORTIFY))
FORTIFY ?= 3
ALL_CPPFLAGS = -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DSYSCONFDIR='"$(SYSCONFDIR)"' \
	 -DLIBEXECDIR='"$(LIBEXECDIR)"' -Ilib $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 $(WARN) $(HARDEN) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) \
	 -MMD -MP $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed \
	 $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

LIB_SRC    = $(sort $(wildcard lib/*.c))
ROLE_SRC   = pop3d/ipc.c pop3d/role.c
POP3D_SRC  = $(sort $(wildcard pop3d/main.c pop3d/mon_*.c pop3d/net_*.c pop3d/auth_*.c pop3d/drop_*.c)) $(ROLE_SRC)
DIGEST_SRC = $(sort $(wildcard pop3d/dig_*.c)) $(ROLE_SRC)
ADMIN_SRC  = $(sort $(wildcard pop3admin/*.c))
CHECK_SRC  = $(sort $(wildcard tests/unit/check_*.c))

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB      = $(BUILD)/lib/libpop3.a
PROGRAMS = $(BUILD)/pop3d/pop3d $(BUILD)/pop3d/pop3d-digest $(BUILD)/pop3admin/pop3admin
CHECKS   = $(patsubst %.c,$(BUILD)/%,$(CHECK_SRC))

all: $(PROGRAMS)
lib: $(LIB)
unit: $(CHECKS)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# What was built with other flags is built again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || \
	 printf '%s\n' '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@

$(LIB): $(call obj,$(LIB_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/pop3d/pop3d: $(call obj,$(POP3D_SRC)) $(LIB)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypt
$(BUILD)/pop3d/pop3d-digest: $(call obj,$(DIGEST_SRC)) $(LIB)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypto
$(BUILD)/pop3admin/pop3admin: $(call obj,$(ADMIN_SRC)) $(LIB)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcrypt -lcrypto
$(BUILD)/tests/unit/check_%: $(BUILD)/tests/unit/check_%.o $(LIB)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(filter-out $<,$^) -lcheck -lm -lsubunit -lrt -lpthread -lcrypt -lcrypto

clean:
	rm -rf build build-san

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

FORCE:
.PHONY: all lib unit clean format FORCE
.SECONDARY:
-include $(patsubst %.o,%.d,$(call obj,$(LIB_SRC) $(POP3D_SRC) $(DIGEST_SRC) $(ADMIN_SRC) $(CHECK_SRC)))
