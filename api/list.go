package api

// List is one page of a collection, newest first unless the route says otherwise.
type List[T any] struct {
	Object     string `json:"object" enum:"list" doc:"Always list"`
	Data       []T    `json:"data" doc:"The items of this page"`
	HasMore    bool   `json:"hasMore" doc:"Whether another page follows"`
	NextCursor string `json:"nextCursor,omitempty" doc:"Send it as after to get the next page"`
}

// Deleted confirms that something is gone.
type Deleted struct {
	Object  string `json:"object" doc:"The kind of the deleted thing" example:"workspace"`
	ID      string `json:"id" doc:"Its id, key or path" example:"ws_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Deleted bool   `json:"deleted" doc:"Always true"`
}
