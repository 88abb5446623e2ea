"""Build of the ROS package; the pip package molmo-point, which it stands on, is installed with pip."""

from glob import glob

from setuptools import setup

PACKAGE = "molmo_point_ros"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=[PACKAGE],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", glob("config/*.yaml")),
        (f"share/{PACKAGE}/rviz", glob("rviz/*.rviz")),
    ],
    # molmo-point itself comes from pip: rosdep has no key for it, and colcon must not look for it.
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The molmo-point authors",
    maintainer_email="molmo-point@users.noreply.github.com",
    description="Points at what is asked for in camera images.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            f"point_node = {PACKAGE}.point_node:main",
            f"point_client = {PACKAGE}.point_client:main",
        ]
    },
)
