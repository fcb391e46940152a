"""``python -m fednas.spec``: the CustomResourceDefinition as YAML, on standard output."""

from fednas.spec import crd_yaml

if __name__ == "__main__":
    print(crd_yaml(), end="")
