package vindex

type Key [32]byte
