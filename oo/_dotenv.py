"""What load_env and export_env may write, and how.

A server's names are refused where they change how programs load or where their requests go. A file is written so
that sh, bash and python-dotenv all read back exactly what the server sent, or it is not written.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping

from .exceptions import EnvError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX, XBD 8.1, with lower case
"""What a variable may be called."""

_PATIENCE = 5.0  # seconds

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]+")

_PREFIXES = tuple(
    "LD_ LDR_ DYLD_ _RLD __XPC_ MALLOC_ PYTHON BASH_ OO_ GIT_ XDG_ PERL5 PERL_ PERLIO RUBY LUA_INIT LUA_PATH "
    "LUA_CPATH COR_ CORECLR_ COMPLUS_ ERL_ JULIA_ RUSTC RUSTUP_ CARGO_BUILD_ CARGO_TARGET_ CGO_ CMAKE_ NPM_CONFIG_ "
    "PIP_ PYTEST_ TF_CLI_ NIX_ FZF_ KRB5_ LDAPTLS_ OPENSSL_ COVERAGE_ PYENV_ PEX_ PYSPARK_ UV_ YARN_ BUN_ CARGO_HTTP_ "
    "CARGO_NET_ CARGO_ALIAS_ CARGO_SOURCE_ CARGO_UNSTABLE_ _PYTHON CONDA_ MAMBA_ PIXI_ PIPENV_ PIPX_ TOX_ PYDEVD_ "
    "POETRY_REPOSITORIES_ POETRY_VIRTUALENVS_ NVM_ FNM_ VOLTA_ ASDF_ MISE_ COREPACK_ PNPM_ TS_NODE_ ELECTRON_ RBENV_ "
    "RVM_ BUNDLER_ BUNDLE_MIRROR_ LUAROCKS_ DOTNET_ MSBUILD LOG4J_ SPRING_CONFIG_ COURSIER_ OPAM GHCUP_ GUILE_ "
    "CCACHE_ SCCACHE_ DISTCC_ PKG_CONFIG BAZELISK_ HOMEBREW_ ANSIBLE_ HELM_ CONTAINERS_ SYSTEMD_ DBUS_ "
    "PASSWORD_STORE_ MAGICK_ TEXMF GROFF_ LIBGUESTFS_ WINEDLL LIBMYSQL_ QT_ GTK_ GIO_ GST_PLUGIN_ OCL_ICD_ OMP_TOOL "
    "OMPI_MCA_ PMIX_MCA_ PRTE_MCA_ __GLX_ __EGL_".split()
)
_SUFFIXES = tuple(
    "_PROXY _PAGER _COMMAND _CMD _OPTS _JAVA_OPTIONS _CLASSPATH _PLUGIN_PATH _CA_BUNDLE _CREDENTIAL_PROVIDER".split()
)
_NAMES = frozenset(
    # How a shell, a loader or libc behaves
    "PATH PATHEXT PATH_LOCALE ENV IFS CDPATH SHELL SHELLOPTS BASHOPTS GLOBIGNORE EXECIGNORE POSIXLY_CORRECT TMOUT PS0 "
    "PS1 PS2 PS4 INPUTRC HISTFILE FCEDIT MAILPATH ZDOTDIR FPATH NULLCMD READNULLCMD HOME COMSPEC SYSTEMROOT WINDIR "
    "USERPROFILE HOMEDRIVE HOMEPATH APPDATA LOCALAPPDATA PROGRAMDATA PSMODULEPATH __COMPAT_LAYER TMPDIR TMPPREFIX "
    "TEMP TMP LOCPATH NLSPATH NIS_PATH GCONV_PATH GLIBC_TUNABLES GETCONF_DIR HOSTALIASES LOCALDOMAIN RES_OPTIONS "
    "RESOLV_HOST_CONF TZDIR LIBPATH SHLIB_PATH TERMINFO TERMINFO_DIRS TERMCAP TERMPATH LTDL_LIBRARY_PATH "
    "CFFIXED_USER_HOME DEVELOPER_DIR TOOLCHAINS SDKROOT XLOCALEDIR XENVIRONMENT XAPPLRESDIR XFILESEARCHPATH "
    "XUSERFILESEARCHPATH "
    # What an interpreter loads
    "__PYVENV_LAUNCHER__ VIRTUAL_ENV IPYTHONDIR JUPYTER_CONFIG_DIR JUPYTER_CONFIG_PATH GUNICORN_CMD_ARGS NODE_OPTIONS "
    "NODE_PATH NODE_REPL_EXTERNAL_MODULE NODE_V8_COVERAGE NODE_REDIRECT_WARNINGS DENO_DIR PERLLIB GEM_HOME GEM_PATH "
    "GEMRC BUNDLE_GEMFILE BUNDLE_PATH BUNDLE_BIN_PATH JAVA_TOOL_OPTIONS JDK_JAVAC_OPTIONS MAVEN_ARGS CLASSPATH "
    "JAVA_HOME JRE_HOME PHPRC PHP_INI_SCAN_DIR R_HOME R_PROFILE R_PROFILE_USER R_ENVIRON R_ENVIRON_USER R_LIBS "
    "R_LIBS_USER R_LIBS_SITE R_DEFAULT_PACKAGES ASPNETCORE_HOSTINGSTARTUPASSEMBLIES MONO_PATH MONO_CONFIG "
    "MONO_ENV_OPTIONS MONO_GAC_PREFIX GHCRTS GHC_PACKAGE_PATH GHC_ENVIRONMENT CAML_LD_LIBRARY_PATH OCAMLRUNPARAM "
    "ELIXIR_ERL_OPTIONS TCLLIBPATH TCL_LIBRARY AWKPATH AWKLIBPATH EMACSLOADPATH VIMINIT EXINIT CONDARC MAMBARC "
    "DEBUGPY_ADAPTER_ENDPOINTS JUPYTER_PATH JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR JUPYTERLAB_DIR "
    "JUPYTERLAB_SETTINGS_DIR MPLBACKEND MPLCONFIGDIR MATPLOTLIBRC NUMBA_CACHE_DIR NUMBA_GDB_BINARY NUMBA_CUDA_DRIVER "
    "THEANORC THEANO_FLAGS DASK_CONFIG RAY_RUNTIME_ENV_HOOK CELERY_CONFIG_MODULE CELERY_LOADER UVICORN_LOG_CONFIG "
    "UVICORN_ENV_FILE UVICORN_APP_DIR GRANIAN_LOG_CONFIG AIRFLOW_CONFIG AIRFLOW_HOME AIRFLOW__CORE__PLUGINS_FOLDER "
    "AIRFLOW__CORE__DAGS_FOLDER TRITON_CACHE_DIR TRITON_PTXAS_PATH TORCH_EXTENSIONS_DIR TORCHINDUCTOR_CACHE_DIR "
    "TPU_LIBRARY_PATH PJRT_NAMES_AND_LIBRARY_PATHS MPI4PY_LIBMPI NODE_COMPILE_CACHE NODE_ICU_DATA NODE_CONFIG_DIR "
    "NODE_GYP_FORCE_PYTHON N_PREFIX ESBUILD_BINARY_PATH PUPPETEER_EXECUTABLE_PATH PLAYWRIGHT_BROWSERS_PATH "
    "PLAYWRIGHT_CHROMIUM_EXECUTABLE_PATH PLAYWRIGHT_NODEJS_PATH CYPRESS_RUN_BINARY CYPRESS_INSTALL_BINARY CHROME_PATH "
    "CHROME_BIN DENO_INSTALL_ROOT DENO_V8_FLAGS BUNDLE_APP_CONFIG BUNDLE_USER_CONFIG BUNDLE_USER_HOME "
    "BUNDLE_USER_PLUGIN BUNDLE_PLUGINS BUNDLE_BIN BUNDLE_SSL_CA_CERT IRBRC PRYRC RAKE_SYSTEM BOOTSNAP_CACHE_DIR "
    "JAVACMD JAVA JDK_HOME JAVA_BINDIR JAVA_ARGS JAVA_OPTIONS JVM_ARGS NATIVE_IMAGE_OPTIONS CATALINA_HOME "
    "CATALINA_BASE JBOSS_HOME M2_HOME MAVEN_HOME MAVEN_CONFIG MAVEN_PROJECTBASEDIR MVNW_REPOURL GRADLE_HOME "
    "GRADLE_USER_HOME ANT_HOME ANT_ARGS LEIN_HOME CLJ_CONFIG GROOVY_HOME GROOVY_CONF SCALA_HOME KOTLIN_HOME "
    "SDKMAN_DIR HADOOP_HOME HADOOP_CONF_DIR SPARK_HOME SPARK_CONF_DIR HIVE_CONF_DIR HIVE_AUX_JARS_PATH LOGGING_CONFIG "
    "OTEL_JAVAAGENT_EXTENSIONS OTEL_JAVAAGENT_CONFIGURATION_FILE PHP_BINARY COMPOSER COMPOSER_HOME "
    "COMPOSER_VENDOR_DIR COMPOSER_BIN_DIR COMPOSER_CACHE_DIR XDEBUG_CONFIG R_LD_LIBRARY_PATH R_BROWSER R_PDFVIEWER "
    "MIX_HOME MIX_ARCHIVES MIX_PATH MIX_EXS MIX_DEPS_PATH MIX_BUILD_PATH HEX_HOME HEX_MIRROR HEX_CACERTS_PATH "
    "REBAR_CONFIG REBAR_GLOBAL_CONFIG_DIR REBAR_CACHE_DIR RELEASE_VM_ARGS VMARGS_PATH CAMLLIB OCAMLLIB OCAMLPATH "
    "OCAMLFIND_CONF CAMLRUNPARAM STACK_ROOT STACK_YAML STACK_CONFIG CABAL_CONFIG CABAL_DIR TK_LIBRARY PLTCOLLECTS "
    "PLTADDONDIR SBCL_HOME CHEZSCHEMELIBDIRS EMACSPATH EMACSDATA VIM VIMRUNTIME MYVIMRC NVIM_APPNAME ALTERNATE_EDITOR "
    # What a tool runs or loads
    "GOFLAGS GOROOT GOPATH GOENV GOPROXY GOSUMDB GOTOOLCHAIN GOCACHEPROG GOAUTH RUSTFLAGS RUSTDOC RUSTDOCFLAGS "
    "CARGO_HOME CARGO_ENCODED_RUSTFLAGS CC CXX CPP LD AR CFLAGS CXXFLAGS CPPFLAGS LDFLAGS GCC_EXEC_PREFIX "
    "COMPILER_PATH LIBRARY_PATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH MAKE MAKEFILES MAKEFLAGS GNUMAKEFLAGS MFLAGS "
    "TAR_OPTIONS ZIPOPT RIPGREP_CONFIG_PATH EDITOR VISUAL PAGER MANPAGER PSQL_EDITOR PSQLRC BROWSER LESS LESSOPEN "
    "LESSCLOSE LESSEDIT LESSKEY LESSKEYIN LESSKEY_CONTENT SSH_ASKPASS SUDO_ASKPASS SSH_SK_PROVIDER SSH_AUTH_SOCK "
    "GNUPGHOME RSYNC_RSH RSYNC_CONNECT_PROG CVS_RSH SVN_SSH SVN_EDITOR HGRCPATH HGEDITOR HGMERGE APT_CONFIG "
    "KUBECONFIG DOCKER_CONFIG CLOUDSDK_PYTHON CLOUDSDK_CONFIG GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES "
    "AWS_CONFIG_FILE AWS_DATA_PATH AWS_SHARED_CREDENTIALS_FILE BOTO_CONFIG WGETRC SASL_PATH ODBCINI ODBCINSTINI "
    "ODBCSYSINI GTK3_MODULES GDK_PIXBUF_MODULE_FILE QML_IMPORT_PATH QML2_IMPORT_PATH LIBGL_DRIVERS_PATH "
    "VK_DRIVER_FILES VK_ICD_FILENAMES VK_LAYER_PATH CUDA_INJECTION64_PATH POETRY_HOME POETRY_CONFIG_DIR "
    "POETRY_CACHE_DIR PDM_CONFIG_FILE PDM_PYPI_URL HATCH_CONFIG HATCH_PYTHON GOBIN GOCACHE GOMODCACHE GOTMPDIR GOWORK "
    "GOINSECURE GONOSUMDB GOVCS GOTOOLDIR GOEXPERIMENT GODEBUG GCCGO CARGO CARGO_INSTALL_ROOT FC NM RANLIB STRIP _CL_ "
    "_LINK_ CONFIG_SITE CONFIG_SHELL ACLOCAL_PATH M4PATH COLLECT_GCC_OPTIONS CCC_OVERRIDE_OPTIONS "
    "CLANG_CONFIG_FILE_USER_DIR SCONSFLAGS QMAKESPEC QMAKEPATH QMAKEFEATURES BAZEL_SH USE_BAZEL_VERSION ASAN_OPTIONS "
    "LSAN_OPTIONS MSAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS HWASAN_OPTIONS ASAN_SYMBOLIZER_PATH MSAN_SYMBOLIZER_PATH "
    "LLVM_SYMBOLIZER_PATH DEBUGINFOD_URLS LLDB_DEBUGSERVER_PATH PARALLEL_HOME PARALLEL_SHELL MANOPT MANROFFOPT "
    "MANLESS MANPATH GS_LIB GS_OPTIONS TEXINPUTS SHELL_ESCAPE SHELL_ESCAPE_COMMANDS OPENOUT_ANY SCREENRC TMUX_TMPDIR "
    "SSH_ASKPASS_REQUIRE SSH_SK_HELPER SSH_PKCS11_HELPER GPG_AGENT_INFO SUDO_EDITOR BORG_RSH BORG_PASSCOMMAND "
    "BORG_REMOTE_PATH BORG_BASE_DIR RCLONE_CONFIG RCLONE_SFTP_SSH RCLONE_METADATA_MAPPER CVSEDITOR CVS_SERVER CVSROOT "
    "SVN_MERGE HG P4CONFIG P4ENVIRO P4PORT P4EDITOR P4DIFF P4MERGE P4PAGER P4LOGINSSO BZR_EDITOR BZR_SSH BZR_HOME "
    "DARCS_SSH DARCS_SCP DARCS_EDITOR JJ_CONFIG JJ_EDITOR GH_EDITOR GH_BROWSER GH_PATH GH_CONFIG_DIR GLAB_CONFIG_DIR "
    "KUBE_EDITOR KUBECTL_EXTERNAL_DIFF KUBERC KREW_ROOT DOCKER_CERT_PATH DOCKER_CONTEXT BUILDX_CONFIG BUILDKIT_HOST "
    "COMPOSE_FILE COMPOSE_ENV_FILES CONTAINER_HOST CONTAINER_CONNECTION REGISTRY_AUTH_FILE VAGRANT_CWD "
    "VAGRANT_VAGRANTFILE VAGRANT_HOME PACKER_CONFIG PACKER_CONFIG_DIR VAULT_CONFIG_PATH TF_PLUGIN_CACHE_DIR "
    "TF_DATA_DIR TF_REATTACH_PROVIDERS TERRAFORM_CONFIG TERRAGRUNT_TFPATH TG_TF_PATH PULUMI_HOME "
    "CLOUDSDK_PYTHON_SITEPACKAGES CLOUDSDK_PYTHON_ARGS CLOUDSDK_GSUTIL_PYTHON CLOUDSDK_BQ_PYTHON AZURE_CONFIG_DIR "
    "AZURE_EXTENSION_DIR AWS_LAMBDA_EXEC_WRAPPER AWS_LAMBDA_RUNTIME_API BOTO_PATH OCI_CLI_CONFIG_FILE OCI_CLI_RC_FILE "
    "OCI_CONFIG_FILE DATABRICKS_CONFIG_FILE DBT_PROFILES_DIR DBT_PROJECT_DIR NUGET_PACKAGES NUGET_PLUGIN_PATHS "
    "NUGET_NETCORE_PLUGIN_PATHS NUGET_NETFX_PLUGIN_PATHS NUGET_CREDENTIALPROVIDERS_PATH SASL_CONF_PATH LDAPCONF "
    "LDAPRC GSS_MECH_CONFIG PKCS11_MODULE_PATH PKCS11_PROVIDER_MODULE SOFTHSM2_CONF GNUTLS_SYSTEM_PRIORITY_FILE "
    "FREETDSCONF TNS_ADMIN ORACLE_HOME PGSYSCONFDIR PGSERVICEFILE MYSQL_HOME MARIADB_HOME MARIADB_PLUGIN_DIR "
    "GDAL_DRIVER_PATH GDAL_CONFIG_FILE GDAL_VRT_ENABLE_PYTHON HDF5_VOL_CONNECTOR GTK2_RC_FILES GDK_PIXBUF_MODULEDIR "
    "GI_TYPELIB_PATH PANGO_LIBDIR PANGO_RC_FILE GSETTINGS_SCHEMA_DIR FONTCONFIG_FILE FONTCONFIG_PATH GST_REGISTRY "
    "QTWEBENGINEPROCESS_PATH LADSPA_PATH LV2_PATH FREI0R_PATH ALSA_CONFIG_PATH ALSA_PLUGIN_DIR LIBVA_DRIVERS_PATH "
    "VDPAU_DRIVER_PATH GBM_BACKENDS_PATH SDL_DYNAMIC_API SDL3_DYNAMIC_API VK_ADD_LAYER_PATH VK_ADD_DRIVER_FILES "
    "VK_IMPLICIT_LAYER_PATH VK_ADD_IMPLICIT_LAYER_PATH VK_INSTANCE_LAYERS OPENCL_LAYERS NVTX_INJECTION64_PATH "
    "NVTX_INJECTION32_PATH CUDA_INJECTION32_PATH CUDA_CACHE_PATH NCCL_NET_PLUGIN NCCL_TUNER_PLUGIN "
    "NCCL_PROFILER_PLUGIN HSA_TOOLS_LIB ROCP_TOOL_LIB UCX_MODULE_DIR FI_PROVIDER_PATH RDMAV_DRIVERS IBV_DRIVERS "
    "LIBVIRT_DRIVER_DIR LIBVIRT_DEFAULT_URI VIRSH_DEFAULT_CONNECT_URI QEMU_MODULE_DIR QEMU_LD_PREFIX WINEPREFIX "
    "WINELOADER WINESERVER "
    # Where a request goes and whom it trusts
    "SOCKS_SERVER DOCKER_HOST SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE CURL_HOME HTTPLIB2_CA_CERTS "
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED DENO_CERT DENO_TLS_CA_STORE "
    "NETRC CLOUDSDK_PROXY_ADDRESS CLOUDSDK_PROXY_PORT CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE GRPC_XDS_BOOTSTRAP "
    "GRPC_XDS_BOOTSTRAP_CONFIG SYSTEM_WGETRC HTTPIE_CONFIG_DIR HTTPS_CA_FILE HTTPS_CA_DIR SOCKS_CONF_FILE "
    "TSOCKS_CONF_FILE TORSOCKS_CONF_FILE PROXYCHAINS_CONF_FILE LYNX_CFG LFTP_HOME TWINE_CERT "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_EC2_METADATA_SERVICE_ENDPOINT".split()
)
# What would be among these, and steers nothing.
_HARMLESS = frozenset(
    "DOTNET_ENVIRONMENT UV_PUBLISH_TOKEN UV_PUBLISH_USERNAME UV_PUBLISH_PASSWORD YARN_NPM_AUTH_TOKEN "
    "YARN_NPM_AUTH_IDENT COREPACK_NPM_TOKEN".split()
)

# What a shell that reads the file would set itself, refuse, or compute: bash runs the commands in OPTIND='a[$(...)]'.
_SHELLS_OWN = frozenset(
    "_ UID EUID PPID GROUPS SHLVL SHELLOPTS BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS "
    "BASH_LINENO BASH_MONOSECONDS BASH_SOURCE BASH_SUBSHELL BASH_TRAPSIG BASH_VERSINFO COMP_WORDBREAKS DIRSTACK "
    "EPOCHREALTIME EPOCHSECONDS FUNCNAME HISTCMD LINENO OPTIND PIPESTATUS RANDOM SECONDS SRANDOM".split()
)


def check(variables: Mapping[str, str], allow: Collection[str] = ()) -> None:
    """EnvError unless every name is a name, harmless or in `allow`, and every value can be a variable's."""
    if isinstance(allow, str):
        raise TypeError("allow must be a collection of names, not one string")
    for name, value in variables.items():
        if not NAME.fullmatch(name):
            raise _refused("a name in the environment is no variable name (letters, digits and _)")
        # Programs read http_proxy as they read HTTP_PROXY, and Windows knows no case at all.
        if name not in allow and _steers(name.upper()):
            raise _refused(f"{name} changes how programs load or where requests go; name it in allow= if you mean it")
        if "\0" in value:
            raise _refused(f"the value of {name} holds a NUL character")


def _steers(name: str) -> bool:
    if name in _HARMLESS:
        return False
    return name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)


def load(variables: Mapping[str, str], allow: Collection[str] = ()) -> None:
    """Put the variables into os.environ: all of them, or none and EnvError."""
    check(variables, allow)
    before = {name: os.environ.get(name) for name in variables}
    try:
        os.environ.update(variables)
        return
    except (OSError, ValueError):
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
    # Out here: the codec's errors quote the value.
    raise _refused("this system cannot hold one of the values")


def export(
    variables: Mapping[str, str], path: str | os.PathLike[str], overwrite: bool = True, allow: Collection[str] = ()
) -> None:
    """Write the variables to a file of mode 0600, in one step; EnvError, and the old file as it was, where that
    cannot be. Without `overwrite` they follow what the file holds already."""
    check(variables, allow)
    text = "".join(f"{name}={quoted(name, value)}\n" for name, value in variables.items())
    try:
        target = os.path.realpath(path)  # a link stays a link
        with _alone(os.path.dirname(target)):
            if os.path.lexists(target) and not os.path.isfile(target):
                raise OSError("it is no regular file")  # a rename would put one in the place of a device or a pipe
            before = b"" if overwrite else _content(target)
            if before and not before.endswith(b"\n"):
                before += b"\n"
            replace_file(target, before + text.encode("utf-8"))
        return
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
    except ValueError:
        why = "no file can be called that or hold that"
    raise _refused(f"the file {os.fspath(path)!r} could not be written: {why}")


def quoted(name: str, value: str) -> str:
    """A value as sh, bash and python-dotenv all read it; EnvError where they would not agree.

    Between single quotes sh takes everything as it is, but python-dotenv undoes `\\\\` and `\\'`. Between double
    quotes they agree on `\\\\` and `\\"`, but sh expands `$` and a backtick. python-dotenv expands `${...}` anywhere
    and reads CR as a line's end; up to 1.2.2 it takes a `\\` before the closing quote for an escape of that quote
    wherever a later line holds another one.
    """
    if name in _SHELLS_OWN:
        raise _refused(f"a shell that reads the file sets {name} itself")
    if _BARE.fullmatch(value):
        return value
    if "${" not in value and "\r" not in value and not value.endswith("\\"):
        if "'" not in value and "\\\\" not in value:
            return f"'{value}'"
        if "$" not in value and "`" not in value:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
    raise _refused(f"no way of writing the value of {name} reads the same in sh, bash and python-dotenv")


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    # What another caller appends between reading and replacing would be lost. The folder's lock, since the file is
    # replaced; it ends with its process. Windows has none, nor have some network file systems. Not without end:
    # `flock FOLDER oo export FOLDER/.env` would wait for its own parent.
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise OSError("another program keeps its folder locked") from None
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        os.close(handle)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def replace_file(path: str, content: bytes) -> None:
    """Write a file of mode 0600 in one step: at any moment, a crash included, it is the old one or the new one."""
    folder = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(prefix=".oo-", dir=folder)  # beside its target: the rename is atomic
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o600)  # which it has already, less the umask
        with _synced(folder):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _synced(folder: str) -> Iterator[None]:
    """Until its folder is on the disk, so may a rename not be."""
    if os.name != "posix":  # Windows has no such call
        yield
        return
    handle = os.open(folder, os.O_RDONLY)  # before the rename: where this fails, nothing has happened
    try:
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(what: str) -> EnvError:
    return EnvError(f"the environment was not written: {what}", reason="argument")
