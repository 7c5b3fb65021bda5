"""Which packages the wheel has: the client `firnline`, and the service below `firnline_server`.

The service's folders are top-level packages in a checkout. In a wheel their names would collide with a user's own `config` or
`scripts`, so each of them lies in `firnline_server`, which `scripts/cli/__main__.py` puts on its own process's path. The
laboratory and its two commands stay in the checkout.
"""

from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup
from setuptools.command.build_py import build_py

SERVICE = ("actors", "config", "gateway", "scripts")
LABORATORY = {("firnline_server.scripts", name) for name in ("bench", "chaos")}


class WithoutLaboratory(build_py):
    """Leaves out the two commands of the laboratory, which are files of a package that is in the wheel."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Return package, name and path of each module."""
        return [found for found in super().find_package_modules(package, package_dir) if found[:2] not in LABORATORY]


HERE = str(Path(__file__).parent)
packages = find_packages(HERE, include=[f"{name}*" for name in SERVICE], exclude=["scripts.lab*"])
packages += find_namespace_packages(HERE, include=["gateway.page.static*"])  # folders of data are packages for setuptools
setup(
    packages=["firnline", *(f"firnline_server.{name}" for name in packages)],
    package_dir={f"firnline_server.{name}": name for name in SERVICE},
    package_data={"": ["*.yaml", "*.html", "static/**"]},
    cmdclass={"build_py": WithoutLaboratory},
)
