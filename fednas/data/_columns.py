"""What images and labels have in common: a column as arrow gives it, without its wrappings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["first_null", "is_binary", "is_list", "plain"]


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without extension type and dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    while True:
        kind = column.type
        if isinstance(kind, pa.BaseExtensionType):
            storage = [chunk.storage for chunk in column.chunks]
            column = pa.chunked_array(storage, kind.storage_type)
        elif pa.types.is_dictionary(kind):
            column = pc.dictionary_decode(column)
        else:
            return column


def first_null(column: pa.ChunkedArray) -> int | None:
    """The first row that is null."""
    import pyarrow.compute as pc

    return pc.index(pc.is_null(column), True).as_py() if column.null_count else None


def is_list(kind: pa.DataType) -> bool:
    """Whether it is a list of any of arrow's layouts."""
    import pyarrow as pa

    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def is_binary(kind: pa.DataType) -> bool:
    """Whether it is bytes of any of arrow's layouts; text is not."""
    import pyarrow as pa

    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )
