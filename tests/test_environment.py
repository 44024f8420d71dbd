"""What is recorded beside a measurement."""

import platform

import torch

from tlcourse import environment


def test_the_device_is_the_cards_name_or_the_processors_kind(monkeypatch):
    monkeypatch.setattr(environment, "device", lambda: torch.device("cpu"))
    assert environment.environment()["device"] == platform.machine()
    monkeypatch.setattr(environment, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    assert environment.environment()["device"] == "a card"
