"""A real schema registry for tests: Apicurio Registry on loopback, with an empty memory. It needs Java 17 and Maven.

Maven has the libraries of Apicurio, and no program, so Maven builds one: the classes and the settings of its module `app`, as
they are. Of one extension, `config-index`, Maven has the part for builds no more. All that it gives is a list of settings that
may change while the registry runs; a class of ours gives an empty one.
"""

import contextlib
import fcntl
import http.client
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from scripts.brokers.process import end, free_port

APICURIO = "2.4.2.Final"
"""The newest version for Java 17 of which Maven has all libraries. Of everit's it has those of another name."""

_QUARKUS = "2.16.4.Final"
_EVERIT = "1.14.2"
_OKIO = "3.3.0"  # Quarkus has an older one, with which schemas of Protobuf fail
_START_TIMEOUT_S = 120.0
_API = "/apis/ccompat/v6"

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>firnline</groupId><artifactId>registry</artifactId><version>1</version>
<properties><maven.compiler.source>11</maven.compiler.source><maven.compiler.target>11</maven.compiler.target>
<quarkus.native.builder-image>none</quarkus.native.builder-image></properties>
<dependencyManagement><dependencies>
<dependency><groupId>com.squareup.okio</groupId><artifactId>okio</artifactId><version>{_OKIO}</version></dependency>
<dependency><groupId>io.quarkus</groupId><artifactId>quarkus-bom</artifactId>
<version>{_QUARKUS}</version><type>pom</type><scope>import</scope></dependency></dependencies></dependencyManagement>
<dependencies><dependency><groupId>io.apicurio</groupId><artifactId>apicurio-registry-app</artifactId>
<version>{APICURIO}</version><exclusions>
<exclusion><groupId>com.github.everit-org.json-schema</groupId><artifactId>org.everit.json.schema</artifactId></exclusion>
<exclusion><groupId>io.apicurio</groupId><artifactId>apicurio-common-app-components-config-index</artifactId></exclusion>
</exclusions></dependency>
<dependency><groupId>com.github.erosb</groupId><artifactId>everit-json-schema</artifactId><version>{_EVERIT}</version>
</dependency></dependencies>
<build><plugins><plugin><groupId>io.quarkus</groupId><artifactId>quarkus-maven-plugin</artifactId>
<version>{_QUARKUS}</version><extensions>true</extensions>
<executions><execution><goals><goal>build</goal></goals></execution></executions></plugin></plugins></build></project>
"""
_BEAN = """import io.apicurio.common.apps.config.DynamicConfigPropertyList;
import java.util.List;
import javax.enterprise.inject.Produces;
import javax.inject.Singleton;

public class NoSettings {
    @Produces
    @Singleton
    DynamicConfigPropertyList none() {
        return new DynamicConfigPropertyList(List.of());
    }
}
"""
_SETTINGS = """<settings><mirrors><mirror><id>none</id><mirrorOf>*,!central</mirrorOf><url>{empty}</url></mirror></mirrors>
</settings>
"""
"""The libraries name other repositories, which are not asked: an empty folder stands for them."""


@contextlib.contextmanager
def real_registry(directory: Path) -> Iterator[str]:
    """Run a schema registry without schemas; yields the URL of its API of Confluent. The program stays in `directory`.

    Raises OSError if Java or Maven is missing, or if the registry cannot be built or does not start.
    """
    if missing := [command for command in ("java", "mvn") if shutil.which(command) is None]:
        raise OSError(f"a real registry needs {' and '.join(missing)} on the PATH")
    directory = directory.resolve()
    program = _program(directory)
    port = free_port()
    log = directory / f"registry-{os.getpid()}-{uuid.uuid4().hex[:8]}.log"
    options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1"]
    with log.open("wb") as output:
        command = ["java", *options, f"-Dquarkus.http.port={port}", "-jar", str(program)]
        registry = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            _await(registry, port, log)
            yield f"http://127.0.0.1:{port}{_API}"
        finally:
            end(registry, 20)
            log.unlink(missing_ok=True)


def _program(directory: Path) -> Path:
    """Return the program; Maven builds it at the first call. Other processes wait for that."""
    built = directory / f"apicurio-{APICURIO}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(directory / f"coming-{os.getpid()}", built)
    return built / "registry-1-runner.jar"


def _build(work: Path, built: Path) -> None:
    """Let Maven build the program in the folder `work`, and move it to `built`. Raises OSError if that fails."""
    source, empty = work / "src" / "main" / "java", work / "empty"
    source.mkdir(parents=True)
    empty.mkdir()
    (work / "pom.xml").write_text(_POM)
    (work / "settings.xml").write_text(_SETTINGS.format(empty=empty.as_uri()))
    (source / "NoSettings.java").write_text(_BEAN)
    maven = ["mvn", "-q", "-B", "-s", str(work / "settings.xml"), "-f", str(work / "pom.xml")]
    unpack = [
        "dependency:unpack",
        f"-Dartifact=io.apicurio:apicurio-registry-app:{APICURIO}",
        f"-DoutputDirectory={work / 'src' / 'main' / 'resources'}",
        "-Dmdep.unpack.excludes=META-INF/maven/**",
    ]
    try:
        made = subprocess.run([*maven, *unpack, "package"], check=False, capture_output=True, text=True)
        if made.returncode:
            raise OSError(f"Maven could not build the registry: {made.stdout.strip()[-1_000:]}")
        shutil.rmtree(work / "target" / "classes")
        (work / "target").rename(built)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _await(registry: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Wait until the registry answers. Raises OSError if it ends or takes too long."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        if registry.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"the registry did not start: {log.read_text(errors='replace')[-500:]}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", f"{_API}/subjects")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.1)
