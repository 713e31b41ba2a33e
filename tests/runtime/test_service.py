"""`up` refuses a taken port before it starts anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.core.errors import Unavailable
from app.runtime.service import Service
from app.settings import Settings


async def test_a_taken_port_of_the_api_ends_the_start_with_the_remedy(tmp_path: Path) -> None:
    messages: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(data_dir=tmp_path, api_port=taken.getsockname()[1])
        service = Service(
            settings, AesKeyRing(generate_ring()), say=messages.append, explicit_replication=True, elsewhere=False
        )
        with pytest.raises(Unavailable, match=r"Address already in use\. .* HOOKSTREAM_API_PORT \(0 = any free port\)"):
            await service.start()
    assert messages == []
    assert await service.stop()


def test_rings_of_two_installations_can_be_joined() -> None:
    joined = AesKeyRing(f"{generate_ring()},{generate_ring()}")
    sealed = joined.seal("secret", "acme/ep_1", 0)
    assert joined.open(sealed, "acme/ep_1") == "secret"
