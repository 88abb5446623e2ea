"""Build of the part that needs no ROS; the pip package molmo-point, which it stands on, is installed with pip."""

from setuptools import find_packages, setup

PACKAGE = "molmo_robot"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(),
    package_data={
        PACKAGE: [
            "dds/interfaces/*/*/*.msg",
            "dds/interfaces/*/*/*.srv",
            "dds/interfaces/*/*/*.action",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    # molmo-point itself comes from pip: rosdep has no key for it, and colcon must not look for it.
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="The molmo-point authors",
    maintainer_email="molmo-point@users.noreply.github.com",
    description="Camera messages in, points in metres out, without ROS.",
    license="Apache-2.0",
)
