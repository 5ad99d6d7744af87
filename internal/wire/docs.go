package wire

func (a *API) mountPage() {}
