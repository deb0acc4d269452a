"""The names of variables that a server does not set unless its caller says so.

This is a net against accidents and no wall: what programs let their variables decide has no end. The wall is `only=`,
which takes nothing but what the caller expects.
"""

from __future__ import annotations

# What loads code into any process of its kind, and what moves traffic elsewhere or lets others read it. Compared in
# capitals, as Windows does, and as curl reads `http_proxy`.
_PREFIXES = (
    "LD_",  # the loader of Linux and the BSDs
    "DYLD_",  # that of macOS
    "LUA_INIT",  # and its versions, such as LUA_INIT_5_4
    "LUA_PATH",
    "LUA_CPATH",
    "CORECLR_",  # .NET's profilers, which are libraries
    "COR_",
    "OO_",  # where this library calls, with which plugins, and the gateway's keys
)
_NAMES = frozenset(
    name
    for line in (
        # Loaders, and the C library's modules
        "LDR_PRELOAD LDR_PRELOAD64 LIBPATH SHLIB_PATH GCONV_PATH GLIBC_TUNABLES OPENSSL_CONF OPENSSL_MODULES "
        "OPENSSL_ENGINES",
        # Which programs are found, and what a shell runs as it starts, splits words by or runs at each prompt
        "PATH PATHEXT COMSPEC HOME ENV BASH_ENV ZDOTDIR FPATH IFS CDPATH SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND",
        # Python
        "PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONPLATLIBDIR PYTHONPYCACHEPREFIX PYTHONEXECUTABLE "
        "PYTHONWARNINGS PYTHONBREAKPOINT",
        # Node, Perl, Ruby, PHP, R, Julia, Tcl, Emacs Lisp, awk
        "NODE_OPTIONS NODE_PATH PERL5LIB PERL5OPT PERL5DB PERLLIB RUBYLIB RUBYOPT GEM_HOME GEM_PATH PHPRC "
        "PHP_INI_SCAN_DIR R_HOME R_PROFILE R_PROFILE_USER R_ENVIRON R_ENVIRON_USER R_LIBS R_LIBS_USER R_LIBS_SITE "
        "JULIA_LOAD_PATH JULIA_DEPOT_PATH TCLLIBPATH EMACSLOADPATH AWKPATH AWKLIBPATH",
        # The virtual machines of Java, .NET and Erlang
        "JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH DOTNET_STARTUP_HOOKS DOTNET_ADDITIONAL_DEPS "
        "DOTNET_SHARED_STORE ERL_FLAGS ERL_AFLAGS ERL_ZFLAGS ERL_LIBS",
        # Forward proxies, and how a host's name is read
        "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY FTP_PROXY SOCKS_PROXY WS_PROXY WSS_PROXY GRPC_PROXY RSYNC_PROXY "
        "HOSTALIASES LOCALDOMAIN RES_OPTIONS",
        # Whom TLS trusts, and who may read it
        "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE AWS_CA_BUNDLE NODE_EXTRA_CA_CERTS "
        "NODE_TLS_REJECT_UNAUTHORIZED PYTHONHTTPSVERIFY GRPC_DEFAULT_SSL_ROOTS_FILE_PATH GIT_SSL_CAINFO GIT_SSL_CAPATH "
        "GIT_SSL_NO_VERIFY SSLKEYLOGFILE",
    )
    for name in line.split()
)


def is_unsafe(name: str) -> bool:
    """Whether a variable of that name decides which code a process loads, or where its traffic goes."""
    name = name.upper()
    return name in _NAMES or name.startswith(_PREFIXES)
